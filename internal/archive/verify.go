package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// VerifyOptions says what Verify does besides checking every byte.
type VerifyOptions struct {
	// Signatures checks each commit's and sync's signature with the key in its record,
	// and that frame, record and commit agree.
	Signatures bool
	Workers    int // default all processors
	// Progress is told of the bytes checked and of all there are, from one goroutine.
	// The total grows while files are opened.
	Progress func(done, total int64)
	// Problem is told of each problem when it is found.
	Problem func(Problem)
}

// Problem is a place where an archive is not what it should be.
type Problem struct {
	File   string `json:"file"`
	Offset int64  `json:"offset,omitempty"` // in the file; of the block that is bad, or of the footer
	Seq    uint64 `json:"seq,omitempty"`    // of the bad record when it can be told, else the first it may be
	Error  string `json:"error"`
}

func (p Problem) String() string {
	if p.Seq == 0 {
		return fmt.Sprintf("%s: offset %d: %s", p.File, p.Offset, p.Error)
	}
	return fmt.Sprintf("%s: offset %d, seq %d: %s", p.File, p.Offset, p.Seq, p.Error)
}

// Report is what Verify found.
type Report struct {
	Files     int       `json:"files"`
	Records   uint64    `json:"records"`
	Bytes     int64     `json:"bytes"`
	FirstSeq  uint64    `json:"first_seq"`
	LastSeq   uint64    `json:"last_seq"`
	FirstLeaf uint64    `json:"first_leaf"` // above 0: earlier segments were not given
	TreeSize  uint64    `json:"tree_size"`
	Root      string    `json:"root"` // hexadecimal
	Stream    string    `json:"stream"`
	Seconds   float64   `json:"seconds"`
	Checked   *Signed   `json:"signatures,omitempty"`
	Problems  []Problem `json:"problems"`
}

// OK says whether everything holds.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// Verify checks every byte of every file, and that they follow from each other. It
// goes on after a problem, with the next file. The error is of ctx or of reading;
// what is wrong with the bytes is in the report.
func Verify(ctx context.Context, src *Source, o VerifyOptions) (*Report, error) {
	began := time.Now()
	v := verification{o: o, r: &Report{Problems: []Problem{}}}
	if o.Signatures {
		v.signed = &signatures{}
	}
	for i, f := range src.Files {
		if err := v.file(ctx, f, len(src.Files)-i); err != nil {
			return nil, err
		}
	}
	if v.signed != nil {
		v.r.Checked = v.signed.sum()
	}
	v.r.Seconds = time.Since(began).Seconds()
	return v.r, nil
}

// verification is a run of Verify.
type verification struct {
	o      VerifyOptions
	r      *Report
	signed *signatures

	last     *segmentlog.Footer // of the newest file whose footer could be read
	lastFile string
	done     int64
}

func (v *verification) problem(p Problem) {
	v.r.Problems = append(v.r.Problems, p)
	if v.o.Problem != nil {
		v.o.Problem(p)
	}
}

// file checks one file, of left that are not checked yet.
func (v *verification) file(ctx context.Context, f *File, left int) error {
	v.r.Files++
	seg, err := f.Open(ctx)
	if err != nil {
		return v.bad(f, nil, err)
	}
	defer seg.Close() // opened for reading
	footer := seg.Footer()
	o := segmentlog.VerifyOptions{Workers: v.o.Workers}
	if v.o.Progress != nil {
		o.Progress = func(n int64) {
			v.done += n
			v.o.Progress(v.done, max(v.done, v.r.Bytes+seg.Size()*int64(left)))
		}
	}
	if v.signed != nil {
		v.signed.begin()
		o.Check = v.signed.worker
	}
	err = seg.Verify(ctx, o)
	v.follows(f, footer)
	v.r.Bytes += seg.Size()
	v.r.Records += footer.Count
	if err != nil {
		return v.bad(f, footer, err)
	}
	return nil
}

// bad makes a problem of what is wrong with the bytes, and returns what is not.
func (v *verification) bad(f *File, footer *segmentlog.Footer, err error) error {
	p := Problem{File: f.Place, Error: err.Error()}
	var c *segmentlog.CorruptError
	switch {
	case errors.As(err, &c):
		p.Offset, p.Error = c.Offset, c.Err.Error()
	case errors.Is(err, segmentlog.ErrVersion), errors.Is(err, ErrChanged):
	default:
		return err
	}
	var r *segmentlog.RecordError
	if errors.As(err, &r) {
		if p.Seq = r.Seq; p.Seq == 0 {
			p.Seq = r.After + 1
		}
	}
	if p.Seq == 0 && footer != nil {
		for i := range footer.Blocks {
			if b := &footer.Blocks[i]; b.Offset == p.Offset {
				p.Seq = b.FirstSeq
				p.Error = fmt.Sprintf("block %d (seqs %d to %d): %s", i, b.FirstSeq, b.LastSeq, p.Error)
			}
		}
	}
	v.problem(p)
	return nil
}

// follows checks that a segment goes on where the one before it ended.
func (v *verification) follows(f *File, next *segmentlog.Footer) {
	last, lastFile := v.last, v.lastFile
	v.last, v.lastFile = next, f.Place
	r := v.r
	if last == nil {
		r.FirstSeq, r.FirstLeaf, r.Stream = next.Name.FirstSeq, next.FirstLeaf, next.Stream
	}
	r.LastSeq, r.TreeSize, r.Root = next.Name.LastSeq, next.FirstLeaf+next.Count, fmt.Sprintf("%x", next.Root)
	if last == nil {
		return
	}
	if err := Follows(last, lastFile, next); err != nil {
		v.problem(Problem{File: f.Place, Offset: lastBlockEnd(next), Seq: next.Name.FirstSeq, Error: err.Error()})
	}
}
