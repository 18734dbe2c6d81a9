package relay

import (
	"errors"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
)

func TestWhatABucketShowedMayBeEvictedWhileItIsSilentOrKilled(t *testing.T) {
	server := miniotest.Start(t)
	s := newStage(t)
	s.cfg.Archive.URL, s.cfg.Archive.NewStream = server.URL("log"), true
	s.start()
	s.steps(400)
	s.caughtUp()
	s.shipped()
	f := s.Log().Sealed(0)[0]
	e, found := s.archive.shipper.Find(f.Name)
	if !found {
		t.Fatal("it is not found")
	}
	server.Pause()
	if err := s.archive.shipper.Holds(t.Context(), &f); err != nil { // after 10 s
		t.Errorf("silent: %v", err)
	}
	server.Resume()
	server.Kill()
	if err := s.archive.shipper.Holds(t.Context(), &f); err != nil {
		t.Errorf("killed: %v", err)
	}
	if _, err := s.archive.bucket.Stat(t.Context(), e.Key()); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("the bucket is not away: %v", err)
	}
	s.stop()
}
