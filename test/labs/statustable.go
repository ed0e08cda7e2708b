package labs

import "strings"

// StatusRows reads the table of a status job as clients do: lines that begin with │, cells between │, by position.
func StatusRows(log string) (rows [][]string) {
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "│") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "│"), "│")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}
