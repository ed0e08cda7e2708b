package worker

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// holeBlock is what holes begin and end at: no file system has larger blocks.
	holeBlock = 64 << 10
	// holeMargin is what stays before the position of the reader: the end of the line before, the bytes by which a file that
	// was cut is told, and as much of the text as the longest form of a secret, in which each byte may be six.
	holeMargin = 512 << 10
	// holeLeast is the size from which a hole is worth its while.
	holeLeast = 1 << 20
)

// holes gives the disk back what a run writes beyond the limit of its log: that part of the output is not to be read again
// but for where its lines begin, so a hole does as well. The run writes on as if nothing were.
type holes struct {
	file *os.File
	// from is the offset since when nothing has passed the limit, to that of the last hole's end.
	from, to int64
	off      bool
}

// passed says that of what lies before pos something is part of the log.
func (h *holes) passed(pos int64) { h.from = pos }

// dropped says that nothing since from is part of the log, up to pos.
func (h *holes) dropped(pos int64, log *slog.Logger) {
	begin := max(h.to, (h.from+holeBlock-1)/holeBlock*holeBlock)
	end := (pos - holeMargin) / holeBlock * holeBlock
	if h.off || end-begin < holeLeast {
		return
	}
	if err := unix.Fallocate(int(h.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, begin, end-begin); err != nil {
		h.off = true
		log.Warn("the file system keeps what a run writes beyond the limit of its log, as long as the run lasts", "file", h.file.Name(), "error", err)
		return
	}
	h.to = end
}

// skip returns where to read on from pos: behind a hole that is worth its while, where there is one.
func (h *holes) skip(pos int64) int64 {
	data, err := unix.Seek(int(h.file.Fd()), pos, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // the hole ends where the file does
		data, err = unix.Seek(int(h.file.Fd()), 0, unix.SEEK_END)
	}
	if err != nil || data-pos < holeLeast {
		return pos
	}
	return data / holeBlock * holeBlock
}
