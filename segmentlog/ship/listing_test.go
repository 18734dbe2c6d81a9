package ship

import (
	"strings"
	"testing"
)

// A store that answers nothing holds up shipping, and not who asks what is there.
func TestWhatTheArchiveHasIsListedWhileTheStoreHangs(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	w.append("event", 100)
	w.allShipped()
	known := w.shipped[0]
	hung, hang := make(chan struct{}), make(chan struct{})
	m.Mu.Lock()
	m.Before = func(call string) error {
		if strings.HasPrefix(call, "replace "+catalogPrefix) {
			close(hung)
			<-hang
		}
		return nil
	}
	m.Mu.Unlock()
	w.append("event", 40)
	<-hung
	asked := make(chan bool, 1)
	go func() {
		_, found := w.shipper.Find(known.Name)
		asked <- found && len(w.shipper.Catalog("", "")) > 0
	}()
	if !<-asked {
		t.Error("what is there was not found")
	}
	m.Mu.Lock()
	m.Before = nil
	m.Mu.Unlock()
	close(hang)
	w.stop()
}
