package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// Kept files are what a job has left, as copies in the stream of objects: netlab.objects.<host>.<id>.<file>.<n> is the n-th
// piece of one, and the file "list" says which there are. The list is written last: what it does not name is nobody's.

const (
	// PieceSize is how much of a kept file one message has; the last piece has the rest.
	PieceSize = pieceSize
	// keptListFile stands for the list in the subjects.
	keptListFile = "list"
	// maxKeptList bounds the list in memory, in bytes.
	maxKeptList = 8 << 20
	// maxKeptBytes is more than any worker keeps of one file.
	maxKeptBytes = 1 << 40
)

// KeptFile is a file that was kept.
type KeptFile struct {
	// Path is relative to the job's working directory.
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	// Modified and ETag are the file's on its host when it was read.
	Modified time.Time `json:"modified"`
	ETag     string    `json:"etag"`
	// Token is the file's part of the subjects.
	Token string `json:"token"`
}

// KeptList is what was kept of a job.
type KeptList struct {
	Files []KeptFile `json:"files"`
	// Warnings say what was to be kept and is not.
	Warnings []string `json:"warnings,omitempty"`
}

// NewKeptToken makes a part of the subjects that no other file has: a try that was given up never mixes with the next.
func NewKeptToken() string { return uuid.NewString() }

func keptSubject(prefix, host, id, file string, n int) string {
	return prefix + host + "." + id + "." + file + "." + strconv.Itoa(n)
}

// KeptRoom is how many more bytes the stream takes of kept files: they have half of it, so that births find room for what
// comes with them.
func (b *Bus) KeptRoom(ctx context.Context) (int64, error) {
	stream, err := b.js.Stream(ctx, objectsStream)
	if err != nil {
		return 0, translate(err)
	}
	info := stream.CachedInfo()
	if info.Config.MaxBytes <= 0 {
		return 1<<63 - 1, nil
	}
	return max(info.Config.MaxBytes/2-int64(info.State.Bytes), 0), nil
}

// PutKept stores what r has, up to size bytes, piece by piece, and returns how much that was. ErrFull: the stream has no room;
// ErrUnavailable: it did not answer until ctx ended. Another error is r's. What was stored before an error is for PurgeKept.
func (b *Bus) PutKept(ctx context.Context, host, id, token string, r io.Reader, size int64) (int64, error) {
	piece := make([]byte, PieceSize)
	total := int64(0)
	for n := 0; total < size; n++ {
		length, err := io.ReadFull(r, piece[:min(PieceSize, size-total)])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return total, err
		}
		if err := b.putKeptPiece(ctx, host, id, token, n, piece[:length]); err != nil {
			return total, fmt.Errorf("piece %d: %w", n+1, err)
		}
		total += int64(length)
	}
	return total, nil
}

func (b *Bus) putKeptPiece(ctx context.Context, host, id, file string, n int, data []byte) error {
	m := nats.NewMsg(keptSubject(objectsIntake, host, id, file, n))
	m.Data = data
	m.Header[headerEventID] = []string{uuid.NewString()}
	return b.retry(ctx, "kept file of job "+id, func(ctx context.Context) error {
		_, err := b.commit(ctx, objectsStream, m, keptSubject(objectsPublic, host, id, file, n), "", 0)
		return err
	}, ErrUnavailable)
}

// PutKeptList makes the files of the list those that were kept of the job. ErrConflict: there is another list already.
func (b *Bus) PutKeptList(ctx context.Context, host, id string, list *KeptList) error {
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("the list of kept files: %w", err)
	}
	if len(data) > maxKeptList {
		return fmt.Errorf("%w: the list of kept files has %d bytes, at most %d", ErrTooLarge, len(data), maxKeptList)
	}
	// By what it says: the same list is the one whose answer was lost.
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	// The first piece last: without it there is no list.
	pieces := max((len(data)+PieceSize-1)/PieceSize, 1)
	for n := pieces - 1; n >= 0; n-- {
		m := nats.NewMsg(keptSubject(objectsIntake, host, id, keptListFile, n))
		m.Data = data[n*PieceSize : min((n+1)*PieceSize, len(data))]
		m.Header.Set(headerPieces, strconv.Itoa(pieces))
		m.Header[headerEventID] = []string{name + "." + strconv.Itoa(n)}
		if _, err := b.commit(ctx, objectsStream, m, keptSubject(objectsPublic, host, id, keptListFile, n), "", 0); err != nil {
			return err
		}
	}
	return nil
}

// KeptList reads what was kept of a job: of the leader, since it decides whether anything is to be kept, and an earlier job of the id may
// have had another one. ErrNotFound: nothing was.
func (b *Bus) KeptList(ctx context.Context, host, id string) (*KeptList, error) {
	var data []byte
	for n, pieces := 0, 1; n < pieces; n++ {
		m, h, err := b.newest(ctx, objectsStream, keptSubject(objectsPublic, host, id, keptListFile, n))
		if err != nil {
			return nil, err
		}
		if pieces, err = strconv.Atoi(h.Get(headerPieces)); err != nil || len(data)+len(m.Data) > maxKeptList {
			return nil, fmt.Errorf("%w: the list of kept files is none", ErrNotFound)
		}
		data = append(data, m.Data...)
	}
	list := &KeptList{}
	if err := json.Unmarshal(data, list); err != nil {
		return nil, fmt.Errorf("%w: the list of kept files is none: %w", ErrNotFound, err)
	}
	for i := range list.Files {
		if !list.Files[i].valid() {
			return nil, fmt.Errorf("%w: the list of kept files is none: its file %d is not one of a worker's", ErrNotFound, i+1)
		}
	}
	return list, nil
}

// valid says whether a worker can have written it. A list is as its host left it: a token goes into a subject, a tag into a
// header, and a length into what is read.
func (f *KeptFile) valid() bool {
	inHeader := func(r rune) bool { return r > ' ' && r < 0x7F && r != '"' && r != '\\' }
	return len(f.Token) == len(uuid.Nil.String()) && uuid.Validate(f.Token) == nil &&
		f.Bytes >= 0 && f.Bytes <= maxKeptBytes &&
		f.ETag != "" && strings.IndexFunc(f.ETag, func(r rune) bool { return !inHeader(r) }) < 0 &&
		f.Path != "" && f.Path[0] != '/' && utf8.ValidString(f.Path) && !strings.ContainsRune(f.Path, 0)
}

// KeptPiece reads the n-th piece of a kept file. ErrNotFound: it is not there, or not of that file.
func (b *Bus) KeptPiece(ctx context.Context, host, id string, file *KeptFile, n int) ([]byte, error) {
	_, data, err := b.written(ctx, objectsStream, keptSubject(objectsPublic, host, id, file.Token, n))
	if err != nil {
		return nil, fmt.Errorf("piece %d: %w", n+1, err)
	}
	if want := min(PieceSize, file.Bytes-int64(n)*PieceSize); int64(len(data)) != want {
		return nil, fmt.Errorf("%w: piece %d has %d bytes, not %d", ErrNotFound, n+1, len(data), want)
	}
	return data, nil
}

// PurgeKept removes what there is of a job's kept files.
func (b *Bus) PurgeKept(ctx context.Context, host, id string) error {
	return b.purge(ctx, objectsStream, objectsPublic+host+"."+id+".*.*", 0)
}
