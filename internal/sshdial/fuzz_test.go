package sshdial

import "testing"

// FuzzTarget: names of machines come from an inventory, which may be another's.
func FuzzTarget(f *testing.F) {
	f.Add("root@web-1:2222")
	f.Add("[::1]:22")
	f.Add("ssh://a@b")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		if again, err := ParseTarget(text); err != nil || again != target {
			t.Errorf("%q: %+v and %+v, %v", text, target, again, err)
		}
	})
}
