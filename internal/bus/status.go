package bus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/jobs"
)

// PublishStatus commits the job's new state if its last status has the sequence last, 0 for none: the first is the claim.
// It returns the new sequence. ErrConflict: somebody else moved the job, and the caller has lost it.
func (b *Bus) PublishStatus(ctx context.Context, job *jobs.Job, last uint64) (seq uint64, err error) {
	m, err := b.jobEvent(kindStatus, job, job)
	if err != nil {
		return 0, err
	}
	return b.insist(ctx, "status of job "+job.ID, jobsStream, m, publicSubject(job.Host, job.ID, kindStatus), last, ErrUnavailable, ErrFull)
}

// LastStatus reads the job's last status. ErrNotFound: nobody has claimed it.
func (b *Bus) LastStatus(ctx context.Context, host, id string) (*JobMessage, error) {
	m, h, err := b.newest(ctx, jobsStream, publicSubject(host, id, kindStatus))
	if err != nil {
		return nil, err
	}
	job, err := decodeJob(h, m.Data, m.Seq, kindStatus)
	if err != nil {
		return nil, err
	}
	job.Stored = m.Time
	return job, nil
}

// FollowJobs calls handle with the last message of each subject of every job, then caughtUp once, then handle with each
// new one, in the stream's order, until ctx ends. canceled gets the jobs that are to be canceled, in that order too.
//
// history says that up to caughtUp the order of the messages of one job is enough. Then no birth is read that has a status behind it:
// that of most jobs has said all that was born.
func (b *Bus) FollowJobs(ctx context.Context, history bool, handle func(*JobMessage), canceled func(id string, seq uint64), caughtUp func()) error {
	births := births{}
	read := func(m jetstream.Msg, at Mark) {
		job, err := b.given.take(m, at.Seq), error(nil)
		if job == nil {
			job, err = decodeJobOf(m.Subject(), m.Headers(), m.Data(), at.Seq)
		}
		if err != nil {
			b.log.Error("bus: unreadable message skipped", "subject", m.Subject(), "error", err)
			return
		}
		job.Made, job.Stored, job.Born = at.Made, at.Stored, births.take(m.Subject()).at.Seq
		handle(job)
	}
	return b.follow(ctx, jobsStream, Mark{}, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{everySubject},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	}, func(m jetstream.Msg, at Mark) {
		_, id, kind, ok := subjectTokens(m.Subject())
		switch {
		case ok && kind == kindCancel:
			if birth := births.take(m.Subject()); birth.message != nil {
				read(birth.message, birth.at)
			}
			canceled(id, at.Seq)
		case ok && kind == kindRequest && history:
			births[jobOf(m.Subject())] = unread{m, at}
		default:
			read(m, at)
		}
	}, func() {
		left := births.inOrder()
		history, births = false, nil
		for _, birth := range left {
			read(birth.message, birth.at)
		}
		caughtUp()
	})
}

// births are those that were not read yet, by what the subjects of a job have in common.
type births map[string]unread

// unread is a message as it came.
type unread struct {
	message jetstream.Msg
	at      Mark
}

// take returns the birth of the job of a subject, or nothing, and forgets it.
func (b births) take(subject string) unread {
	if len(b) == 0 {
		return unread{}
	}
	birth := b[jobOf(subject)]
	delete(b, jobOf(subject))
	return birth
}

func (b births) inOrder() []unread {
	return slices.SortedFunc(maps.Values(b), func(a, b unread) int { return cmp.Compare(a.at.Seq, b.at.Seq) })
}

// jobOf is a subject of a job without the kind of its messages.
func jobOf(subject string) string { return subject[:strings.LastIndexByte(subject, '.')+1] }

// JobsSequence is the sequence of the newest message of the jobs stream.
func (b *Bus) JobsSequence(ctx context.Context) (uint64, error) {
	mark, err := b.mark(ctx, jobsStream)
	return mark.Seq, err
}

// decodeJobOf reads a message that has to be of the job that its subject says.
func decodeJobOf(subject string, h nats.Header, data []byte, seq uint64) (*JobMessage, error) {
	host, id, kind, ok := subjectTokens(subject)
	if !ok {
		return nil, fmt.Errorf("subject %q is no job's", subject)
	}
	job, err := decodeJob(h, data, seq, kind)
	if err == nil && (job.ID != id || job.Host != host) {
		return nil, fmt.Errorf("it is of job %q on host %q", job.ID, job.Host)
	}
	return job, err
}
