package node

import "time"

// alarm is a timer that is left alone while its time stays the same, as in most turns.
type alarm struct {
	*time.Timer
	at    time.Time
	armed bool
}

func newAlarm() *alarm { return &alarm{Timer: time.NewTimer(time.Hour)} }

// set has it ring at a time; zero: within the hour.
func (a *alarm) set(at time.Time) {
	if a.armed && a.at.Equal(at) {
		return
	}
	a.at, a.armed = at, true
	wait := time.Hour
	if !at.IsZero() {
		wait = max(0, time.Until(at))
	}
	a.Reset(wait)
}

// rang is told when it was heard.
func (a *alarm) rang() { a.armed = false }
