package bucket

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// gate reads when it is let, and says when it is asked.
type gate struct {
	io.ReaderAt
	asked, let chan struct{}
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	close(g.asked)
	<-g.let
	return g.ReaderAt.ReadAt(p, off)
}

func TestABodyIsNotReadOnceItIsGivenBack(t *testing.T) {
	body := BytesBody([]byte("bytes"))
	g := &gate{body.Bytes, make(chan struct{}), make(chan struct{})}
	body.Bytes = g
	p := newProven("key", body)
	read, given := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 2))
		read <- err
	}()
	<-g.asked
	go func() { given <- p.giveBack() }()
	select {
	case err := <-given:
		t.Fatalf("it was given back while it was read: %v", err)
	default:
	}
	close(g.let)
	if err := errors.Join(<-read, <-given); err != nil {
		t.Error(err)
	}
	if n, err := p.Read(make([]byte, 2)); n != 0 || !errors.Is(err, errGivenBack) { // gate panics when read twice
		t.Errorf("%d, %v", n, err)
	}
}

func TestABodyThatIsWrongIsSaidToBeWhenItIsGivenBack(t *testing.T) {
	body := BytesBody([]byte("bytes"))
	body.Bytes = bytes.NewReader([]byte("other"))
	p := newProven("key", body)
	var m *MismatchError
	if got, err := io.ReadAll(p); !errors.As(err, &m) || len(got) == len("other") {
		t.Errorf("%q, %v", got, err)
	}
	if err := p.giveBack(); !errors.As(err, &m) || m.Key != "key" {
		t.Error(err)
	}
}
