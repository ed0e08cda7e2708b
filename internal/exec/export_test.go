package exec

import "time"

// SetImportPatience changes how long a run waits for a parent that is not through with its imports.
func (n *Netlab) SetImportPatience(patience time.Duration) {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	n.warm.importPatience = patience
}
