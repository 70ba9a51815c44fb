package fake_test

import (
	"testing"

	"shoal/executor/fake"
	"shoal/executor/hosttest"
)

func TestFetch(t *testing.T) {
	hosttest.FetchSuite(t, func(*testing.T) hosttest.FetchFixture {
		h := fake.New()
		return hosttest.FetchFixture{Host: h, Publish: func(name string, data []byte) string {
			url := "https://example.org/" + name
			h.Publish(url, data)
			return url
		}}
	})
}
