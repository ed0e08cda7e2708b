package embedded

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog gives the embedded server's lines to slog. Its notices are many and go to the debug level.
type serverLog struct{ log *slog.Logger }

func (l serverLog) line(format string, args []any) string {
	return "bus server: " + strings.TrimSpace(fmt.Sprintf(format, args...))
}

func (l serverLog) Noticef(format string, args ...any) { l.log.Debug(l.line(format, args)) }
func (l serverLog) Debugf(format string, args ...any)  { l.log.Debug(l.line(format, args)) }
func (l serverLog) Tracef(format string, args ...any)  { l.log.Debug(l.line(format, args)) }
func (l serverLog) Warnf(format string, args ...any)   { l.log.Warn(l.line(format, args)) }
func (l serverLog) Errorf(format string, args ...any)  { l.log.Error(l.line(format, args)) }
func (l serverLog) Fatalf(format string, args ...any)  { l.log.Error(l.line(format, args)) }
