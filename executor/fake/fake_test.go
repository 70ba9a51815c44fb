package fake_test

import (
	"errors"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/hosttest"
)

func TestPackages(t *testing.T) {
	hosttest.PackagesSuite(t, func(t *testing.T) hosttest.PackagesFixture {
		p := fake.NewPackages()
		p.Offer("leaf", []string{"1", "2"}, "lib")
		p.Offer("lib", []string{"1"})
		p.Offer("base", []string{"1", "2"})
		if err := p.ChangePackages(t.Context(), []executor.Package{{Name: "base", Version: "1"}, {Name: "lib"}}, nil); err != nil {
			t.Fatal(err)
		}
		return hosttest.PackagesFixture{Packages: p, Leaf: "leaf", Installed: "base"}
	})
}

func TestServices(t *testing.T) {
	hosttest.ServicesSuite(t, func(*testing.T) hosttest.ServicesFixture {
		s := fake.NewServices()
		s.Add("web")
		s.Add("bad")
		s.Fail = func(operation, name string) error {
			if operation == "start" && name == "bad.service" {
				return errors.New("start bad.service: failed")
			}
			return nil
		}
		return hosttest.ServicesFixture{Services: s, Unit: "web", Fails: "bad"}
	})
}

func TestAccounts(t *testing.T) {
	hosttest.AccountsSuite(t, func(*testing.T) executor.Accounts { return fake.NewAccounts() })
}

func TestFiles(t *testing.T) {
	hosttest.FilesSuite(t, func(*testing.T) executor.Host { return fake.New() })
}
