package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ProbePrefix begins the keys of what Probe writes. A kill may leave one behind: it is no part
// of an archive.
const ProbePrefix = "probe/"

// Probe writes, reads, lists and deletes an object to see whether the bucket does what
// an archive needs. Where it ignores a condition the error is ErrUnfit; any other error
// is what went wrong.
func Probe(ctx context.Context, b Bucket) error {
	p := &probe{ctx: ctx, b: b, key: ProbePrefix + rand.Text()}
	err := p.run()
	if derr := b.Delete(ctx, p.key); err == nil && derr != nil {
		err = fmt.Errorf("delete: %w", derr)
	}
	if err != nil {
		return fmt.Errorf("probe of %s: %w", b, err)
	}
	return nil
}

type probe struct {
	ctx context.Context
	b   Bucket
	key string
}

func (p *probe) run() error {
	first, err := p.b.Create(p.ctx, p.key, BytesBody([]byte("first")))
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err = p.b.Create(p.ctx, p.key, BytesBody([]byte("again"))); !errors.Is(err, ErrExists) {
		return unfit(err, "it writes over an object that must not exist (If-None-Match: *)")
	}
	second, err := p.b.Replace(p.ctx, p.key, first.Version, BytesBody([]byte("second")))
	if err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	if _, err = p.b.Replace(p.ctx, p.key, first.Version, BytesBody([]byte("third"))); !errors.Is(err, ErrChanged) {
		return unfit(err, "it writes over an object that is another version than the one meant (If-Match)")
	}
	if second.Version == first.Version {
		return unfit(nil, "two writes of an object have one version (ETag)")
	}
	r, err := p.b.Read(p.ctx, p.key, 1, 4)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if string(got) != "econ" {
		return unfit(nil, fmt.Sprintf("bytes 1 to 4 of %q are %q", "second", got))
	}
	for info, err := range p.b.List(p.ctx, strings.TrimSuffix(p.key, p.key[len(p.key)-1:]), "") {
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if info.Key == p.key {
			return nil
		}
	}
	return unfit(nil, "what was written is not listed")
}

// unfit is the error of a condition that was not kept; another error stays.
func unfit(err error, what string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrUnfit, what)
}
