package exec

import "time"

// SetImportPatience changes how long a run waits for a parent that is not through with its imports.
func (n *Netlab) SetImportPatience(patience time.Duration) {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	n.warm.importPatience = patience
}

// SetPatience changes how long a run waits for a parent that has all prepared.
func (n *Netlab) SetPatience(patience time.Duration) {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	n.warm.patience = patience
}

// Settled says whether a run has heard of the parent that it has all prepared.
func (n *Netlab) Settled() bool {
	n.warm.mu.Lock()
	defer n.warm.mu.Unlock()
	return n.warm.parent != nil && n.warm.parent.settled
}

// HoldEnd is a parent whose end is not seen until the function is called that it returns.
func (n *Netlab) HoldEnd() (release func()) {
	n.warm.running.Add(1)
	return n.warm.running.Done
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
