package bus

import (
	"context"
	"fmt"

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
	m, err := b.lastMessage(ctx, jobsStream, publicSubject(host, id, kindStatus))
	if err != nil {
		return nil, err
	}
	job, err := decodeJob(m.Header, m.Data, sequenceOf(m), kindStatus)
	if err != nil {
		return nil, err
	}
	job.Stored = storedAt(m)
	return job, nil
}

// FollowJobs calls handle with the last message of each subject of every job, then caughtUp once, then handle with each
// new one, in the stream's order, until ctx ends. canceled gets the jobs that are to be canceled, in that order too.
func (b *Bus) FollowJobs(ctx context.Context, handle func(*JobMessage), canceled func(id string, seq uint64), caughtUp func()) error {
	return b.follow(ctx, jobsStream, Mark{}, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{everySubject},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	}, func(m jetstream.Msg, at Mark) {
		if _, id, kind, ok := subjectTokens(m.Subject()); ok && kind == kindCancel {
			canceled(id, at.Seq)
			return
		}
		job, err := decodeJobOf(m.Subject(), m.Headers(), m.Data(), at.Seq)
		if err != nil {
			b.log.Error("bus: unreadable message skipped", "subject", m.Subject(), "error", err)
			return
		}
		job.Stored = at.Stored
		handle(job)
	}, caughtUp)
}

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
