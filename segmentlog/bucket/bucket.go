package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
)

// Errors of a Bucket that callers decide by; they are wrapped with the key.
var (
	// ErrNotFound: there is no object of that key.
	ErrNotFound = errors.New("no such object")
	// ErrExists: Create found an object of that key. It may be our own, from an attempt
	// whose answer was lost: compare.
	ErrExists = errors.New("the object exists")
	// ErrChanged: Replace found another version than the one it was given, or none. It
	// too may be our own write: read and compare.
	ErrChanged = errors.New("the object was changed")
	// ErrUnfit: the store cannot keep an archive, for example because it ignores the
	// conditions of a write.
	ErrUnfit = errors.New("the store cannot keep an archive")
	// ErrRefused: the store answered that we may not; trying again changes nothing until
	// a person does something.
	ErrRefused = errors.New("the store refuses")
)

// Bucket is a flat set of objects, each written whole. Its methods may be called from
// any goroutine. What a method that returned nil wrote is durable. An error other than
// those above says nothing about whether a write happened: look.
type Bucket interface {
	// Create writes an object whose key must be free: ErrExists otherwise.
	Create(ctx context.Context, key string, body Body) (Info, error)
	// Replace writes over the object of that key, which must be the version old:
	// ErrChanged otherwise.
	Replace(ctx context.Context, key string, old Version, body Body) (Info, error)
	// Read returns n bytes of an object from offset off, or all from off for n < 0. Fewer
	// bytes than asked for end in io.ErrUnexpectedEOF, as does an offset beyond the end
	// unless n is 0. ErrNotFound. Close what is returned.
	Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// Stat returns what the store says about an object: ErrNotFound.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose key begins with prefix and sorts after after, by key
	// in the order of bytes. Info.SHA256 is not set. An error ends it.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
	// Delete removes an object; that it is not there is no error.
	Delete(ctx context.Context, key string) error
	// Close gives the bucket back. String says where it is, without secrets.
	Close() error
	fmt.Stringer
}

// Version tells two writes of one key apart; it is the store's own word. "" is none.
type Version string

// Info is what a store says about an object.
type Info struct {
	Key     string
	Size    int64 // bytes
	Version Version
	// SHA256 of the whole object where the store has checked and kept it, else nil.
	SHA256 []byte
}

// Body is what an object shall hold. It is read from the start as often as an attempt
// needs, so its bytes must not change meanwhile.
type Body struct {
	Size   int64
	SHA256 [32]byte
	Bytes  io.ReaderAt
	// Path names a local file that holds exactly these bytes and whose bytes never
	// change, "" for none: a directory may link it instead of copying it.
	Path string
}

// ValidKey says whether key can be an object's in every backend: slash-separated names
// of at most 255 letters, digits and "-_.", none of them "", "." or "..".
func ValidKey(key string) bool {
	if key == "" || len(key) > 512 || path.Clean(key) != key || key[0] == '/' || key == "." || strings.HasPrefix(key, "..") {
		return false
	}
	for name := range strings.SplitSeq(key, "/") {
		if len(name) > 255 { // as long as a file's name may be, here and in stores of files
			return false
		}
	}
	return strings.IndexFunc(key, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./", c))
	}) < 0
}
