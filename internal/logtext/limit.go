package logtext

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Own begins each line of the worker's own.
const Own = "netlab-worker: "

// ownRoom is what a log may have beyond its limit, in bytes: the line that says so, and the worker's own lines.
const ownRoom = 64 << 10

// Limit cuts a log off at its end. Up to the limit all text passes. Then comes one line that says so, and after it nothing but
// the worker's own lines, which tell how the job ends; of them too no more than 64 KiB, since a program of the job can write
// lines that look like them. What has passed depends on the text and on the offset of its beginning alone, not on how it is
// cut into blocks. It is not safe for concurrent use.
type Limit struct {
	size   int64 // negative: none
	marker string

	at   int64 // the offset in the log of the next byte that passes
	over bool  // the marker has passed
	// lineEnd says that what passed last was the end of a line.
	lineEnd bool

	// matched is how much of Own the line at hand begins with, -1 where it is none of the worker's; of that the last held
	// bytes wait until it is known.
	matched, held int
	// full says that the rest of the line at hand does not pass, whosever it is.
	full bool
	out  []byte
}

// NewLimit returns a limit of size bytes, 0 for none, for a log that begins at the offset 0.
func NewLimit(size int64) *Limit {
	if size <= 0 {
		size = -1
	}
	return newLimit(size, fmt.Sprintf("the log has reached its limit of %d bytes (NETLAB_WORKER_LOG_LIMIT): what the job writes from here on is left out", size))
}

// NewCut returns a limit at the offset at, from which on the bus had no room for the log.
func NewCut(at int64) *Limit {
	return newLimit(at, "the bus has no room for the rest of this log (NETLAB_BUS_LOGS_BYTES): it is left out")
}

func newLimit(size int64, why string) *Limit {
	l := &Limit{size: size, marker: Own + why + "\n"}
	l.Reset(0)
	return l
}

// Reset starts over with text that begins at this offset of the log.
func (l *Limit) Reset(at int64) {
	l.at, l.over, l.lineEnd = at, l.size >= 0 && at > l.size, true
	l.newLine()
}

// Over says whether the log was cut off, so that only the worker's own lines pass.
func (l *Limit) Over() bool { return l.over }

// Waiting says whether some text waits for what follows it.
func (l *Limit) Waiting() bool { return l.held > 0 }

// Write takes whole runes of text and returns what passes. The returned bytes are valid until the next call.
func (l *Limit) Write(text []byte) []byte {
	if l.size < 0 {
		l.at += int64(len(text))
		return text
	}
	l.out = l.out[:0]
	for len(text) > 0 {
		switch n := bytes.IndexByte(text, '\n') + 1; n {
		case 0:
			l.line(text)
			return l.out
		default:
			l.line(text[:n])
			l.endLine()
			text = text[n:]
		}
	}
	return l.out
}

// Close returns what waited for more of its line.
func (l *Limit) Close() []byte {
	l.out = l.out[:0]
	if l.size < 0 {
		return l.out
	}
	l.foreign()
	l.endLine()
	return l.out
}

// line takes a part of a line, with its end or not.
func (l *Limit) line(text []byte) {
	for len(text) > 0 && l.matched >= 0 && l.matched < len(Own) {
		if text[0] != Own[l.matched] {
			l.foreign()
			break
		}
		// Far from the limit nothing has to wait.
		if l.held == 0 && !l.over && l.at+int64(len(Own)) <= l.size {
			l.emit(text[:1])
		} else {
			l.held++
		}
		text = text[1:]
		if l.matched++; l.matched == len(Own) {
			held := Own[len(Own)-l.held:]
			l.decide(len(Own))
			l.pass([]byte(held))
		}
	}
	l.pass(text)
}

// foreign is what a line turns out to be that began like one of the worker's.
func (l *Limit) foreign() {
	if l.matched < 0 || l.matched == len(Own) {
		return
	}
	held := Own[l.matched-l.held : l.matched]
	l.decide(-1)
	l.pass([]byte(held))
}

func (l *Limit) decide(matched int) { l.matched, l.held = matched, 0 }

func (l *Limit) newLine() {
	l.decide(0)
	l.full = false
}

// endLine is the end of a line, or of the text.
func (l *Limit) endLine() {
	if l.at > l.size && !l.over {
		l.cut()
	}
	l.newLine()
}

// pass lets through what there is room for.
func (l *Limit) pass(text []byte) {
	if len(text) == 0 || l.full {
		return
	}
	end := l.size
	switch own := l.matched == len(Own); {
	case l.over && !own:
		return
	case l.over:
		end += ownRoom - 1
	case own:
		end += ownRoom - 1 - int64(len(l.marker))
	}
	room := int(min(max(end-l.at, 0), int64(len(text))))
	for room > 0 && room < len(text) && !utf8.RuneStart(text[room]) {
		room--
	}
	// A line of the worker's own that has room for nothing of it does not begin.
	if l.over && room < len(text) && l.lineEnd {
		l.full = true
		return
	}
	l.emit(text[:room])
	if room == len(text) {
		return
	}
	l.full = true
	if !l.over {
		l.cut()
	} else {
		l.emit([]byte("\n"))
	}
}

// cut ends the log but for the worker's own lines.
func (l *Limit) cut() {
	l.over = true
	if !l.lineEnd {
		l.emit([]byte("\n"))
	}
	l.emit([]byte(l.marker))
}

func (l *Limit) emit(text []byte) {
	if len(text) == 0 {
		return
	}
	l.out = append(l.out, text...)
	l.at += int64(len(text))
	l.lineEnd = text[len(text)-1] == '\n'
}
