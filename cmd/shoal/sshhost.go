package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shoal/executor"
	"shoal/executor/remote"
	"shoal/executor/ssh"
	"shoal/internal/sshdial"
	"shoal/states"
)

// hand is what works on a machine elsewhere: the program there, or this one over SFTP and commands.
type hand interface {
	facts() map[string]string
	do(ctx context.Context, j remote.Job) (report executor.Report, interrupted bool, err error)
	// cannot says why a part of the plan cannot be done this way; empty: it can.
	cannot(part states.StatePartInvocation) string
	close()
}

// one does all for one machine.
func (r *sshRun) one(ctx context.Context, h sshHost) sshOutcome {
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.timeout, fmt.Errorf("not done within %s (--ssh-timeout)", r.o.timeout))
	defer cancel()
	line := r.board.begin(h.name)
	began := time.Now()
	report, interrupted, err := r.work(ctx, h, line)
	out := sshOutcome{report: report, status: resultStatus(report.Result)}
	if r.o.kind == remote.Recover {
		out = recovered(h, report, interrupted)
	}
	if err != nil {
		out = r.failed(h, err)
	}
	mark := r.t.tint(green, "✓")
	if out.status != exitDone {
		mark = r.t.tint(red, "✗")
	}
	line.end(mark, r.summary(out, time.Since(began)))
	return out
}

// summary is the machine's last line.
func (r *sshRun) summary(o sshOutcome, took time.Duration) string {
	took = took.Round(time.Millisecond)
	switch {
	case o.report.Result == "" && r.o.kind == remote.Recover:
		return "no run was interrupted: nothing to do"
	case len(o.report.States) == 0 && o.report.Error != "":
		return o.report.Error
	case r.o.kind == remote.Check && o.status == exitDone:
		n := 0
		for _, s := range o.report.States {
			if s.Result == executor.WouldChange || s.Result == executor.Unknown {
				n++
			}
		}
		return fmt.Sprintf("planned, %d of %d to change (%s)", n, len(o.report.States), took)
	}
	return fmt.Sprintf("%s, %d changed of %d (%s)", o.report.Result, o.report.Changed, len(o.report.States), took)
}

// recovered is the outcome of taking an interrupted run back: that it was is what was asked for.
func recovered(h sshHost, report executor.Report, interrupted bool) sshOutcome {
	switch {
	case !interrupted:
		return sshOutcome{report: executor.Report{Node: h.name, States: []executor.StateReport{}}}
	case report.Result == executor.RolledBackRun:
		return sshOutcome{report: report}
	}
	return sshOutcome{report: report, status: resultStatus(report.Result)}
}

// failed is the outcome of a machine that never came to a report.
func (r *sshRun) failed(h sshHost, err error) sshOutcome {
	status := exitStatus(err)
	switch {
	case errors.Is(err, sshdial.ErrRefused), errors.Is(err, ssh.ErrSudo):
		status = exitRefused
	case status == exitFailed:
		status = exitUnavailable // it was not reached, or was lost
	}
	return sshOutcome{status: status, report: executor.Report{
		Node: h.name, Order: r.o.order, Env: r.o.env, Result: executor.RunFailed, States: []executor.StateReport{}, Error: err.Error(),
	}}
}

func (r *sshRun) work(ctx context.Context, h sshHost, line *boardLine) (report executor.Report, interrupted bool, err error) {
	line.say("connecting")
	conn, err := r.dialer.Dial(ctx, h.target)
	if err != nil {
		return report, false, err
	}
	defer conn.Close() // when the report is here, nothing is lost with the connection
	user := ssh.NewMachine(conn.Client)
	as := user
	if r.o.sudo && conn.User != "root" {
		if as, err = user.Sudo(ctx, r.password); err != nil {
			return report, false, err
		}
	}
	worker, err := r.hand(ctx, user, as, line)
	if err != nil {
		return report, false, err
	}
	defer worker.close()
	if r.o.kind == remote.Recover {
		line.say("looking for an interrupted run")
		return worker.do(ctx, remote.Job{Kind: r.o.kind, Note: line.note})
	}
	line.say("compiling")
	plan, err := r.compile(h, worker.facts())
	if err != nil {
		return report, false, err
	}
	for i := range plan.Invocations {
		for _, part := range plan.Invocations[i].Parts {
			if why := worker.cannot(part); why != "" && plan.Invocations[i].Skip == "" {
				line.tell("%s: %s needs the program there, or an agent: %s", plan.Invocations[i].ID, part.FullName(), why)
			}
		}
	}
	if r.o.kind == remote.Check {
		line.say("checking %d states", len(plan.Invocations))
	} else {
		line.say("applying %d states", len(plan.Invocations))
	}
	return worker.do(ctx, remote.Job{
		Kind: r.o.kind, Plan: plan, Contents: executor.TreeContents(r.dir),
		Meta: executor.RunMeta{Env: r.o.env, Resolver: states.NewLate(r.dir, plan)}, Note: line.note,
	})
}

// compile takes of a machine's word the facts alone: its tags are the operator's to give.
func (r *sshRun) compile(h sshHost, facts map[string]string) (*states.Plan, error) {
	node := listed(states.Node{Name: h.name, Zone: h.zone, Tags: h.tags}, r.fleet)
	node = withFactsOf([]states.Node{node}, facts)[0]
	return r.catalogue.Compile(states.Input{Node: node, Fleet: r.fleet, Order: states.Order(r.o.order)})
}

// hand chooses how to work on the machine.
func (r *sshRun) hand(ctx context.Context, user, as *ssh.Machine, line *boardLine) (hand, error) {
	if r.o.mode == sshPlain {
		return r.plainHand(ctx, as, line)
	}
	worker, err := r.binaryHand(ctx, user, as, line)
	switch {
	case err == nil, !errors.Is(err, ssh.ErrCannotRun), ctx.Err() != nil:
		return worker, err
	case r.o.mode == sshBinary:
		return nil, err
	}
	line.tell("%v\n    so it is worked on state by state, which is slower and cannot do all (--ssh-mode=plain does not try)", err)
	return r.plainHand(ctx, as, line)
}

// binaryWorker is the program on the other machine.
type binaryWorker struct {
	running *ssh.Running
	session *remote.Session
}

func (r *sshRun) binaryHand(ctx context.Context, user, as *ssh.Machine, line *boardLine) (hand, error) {
	line.say("looking for the program")
	program, err := user.Deliver(ctx, r.binaries, func(b ssh.Binary) { line.say("copying the program (%s)", bytesText(b.Size)) })
	if err != nil {
		return nil, err
	}
	args := []string{"remote"}
	if r.o.root != "" {
		args = append(args, "--root="+r.o.root)
	}
	if r.o.data != "" {
		args = append(args, "--data-dir="+r.o.data)
	}
	running, err := program.Start(ctx, as, args...)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = running.Close() })
	defer stop()
	session, err := remote.Open(running, running)
	if err != nil {
		if errors.Is(err, remote.ErrLost) {
			err = errors.Join(err, running.Wait())
		}
		_ = running.Close()
		return nil, err
	}
	return &binaryWorker{running, session}, nil
}

func (w *binaryWorker) facts() map[string]string { return w.session.Hello.Facts }

func (w *binaryWorker) cannot(states.StatePartInvocation) string { return "" }

func (w *binaryWorker) do(ctx context.Context, j remote.Job) (report executor.Report, interrupted bool, err error) {
	report, interrupted, err = w.session.Do(ctx, j, func() { _ = w.running.Close() })
	if errors.Is(err, remote.ErrLost) && j.Kind != remote.Check {
		err = fmt.Errorf("%w\n    the machine rolls back by itself what was begun; if it could not, the next run does that first", err)
	}
	return report, interrupted, err
}

func (w *binaryWorker) close() { _ = w.running.Close() } // it has ended, or is to
