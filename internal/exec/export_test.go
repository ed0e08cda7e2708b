package exec

import "time"

// SetImportPatience changes how long a run waits for a parent that is not through with its imports.
func (n *Netlab) SetImportPatience(patience time.Duration) {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	n.warm.importPatience = patience
}

// SetFailurePause changes how long no parent is started after one that has failed, also if that is a while ago.
func (n *Netlab) SetFailurePause(pause time.Duration) {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	n.warm.pause = pause
}

// Cold is the same Netlab without a process that is kept ready.
func (n *Netlab) Cold() *Netlab {
	cold := *n
	cold.warm = nil
	return &cold
}
