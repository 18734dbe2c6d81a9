package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a body without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// dripping is a body that comes slowly and never ends.
type dripping struct{}

// dripEvery is how often: a reader notices so late that it should end.
const dripEvery = time.Second

func (dripping) Read(b []byte) (int, error) {
	time.Sleep(dripEvery)
	b[0] = ' '
	return 1, nil
}

func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

// outages are all the ways in which a directory may be of no help.
func outages(t *testing.T) map[string]func() answer {
	page := "<html><body>502 Bad Gateway</body></html>"
	good := docOf(t, someDID, "evil.example")
	return map[string]func() answer{
		"nobody listens":   func() answer { return answer{err: errors.New("connection refused")} },
		"it never answers": func() answer { return answer{after: time.Hour} },
		"it hangs up": func() answer {
			return answer{status: 200, body: io.MultiReader(strings.NewReader(good[:40]), failing{})}
		},
		"it is slow":           func() answer { return answer{status: 200, after: 6 * time.Second, body: strings.NewReader(good)} },
		"its body drips":       func() answer { return answer{status: 200, body: dripping{}} },
		"its body never ends":  func() answer { return answer{status: 200, body: endless{}} },
		"its body is too long": func() answer { return doc(strings.Repeat(" ", maxDocument) + good) },
		"429":                  func() answer { return answer{status: 429} },
		"429 with seconds":     func() answer { return answer{status: 429, header: header("Retry-After", "7")} },
		"429 with a date": func() answer {
			return answer{status: 429, header: header("Retry-After", time.Now().Add(7*time.Second).UTC().Format(http.TimeFormat))}
		},
		"429 with nonsense":   func() answer { return answer{status: 429, header: header("Retry-After", "soon")} },
		"429 with a negative": func() answer { return answer{status: 429, header: header("Retry-After", "-5")} },
		"500":                 func() answer { return answer{status: 500} },
		"502 with a page":     func() answer { return answer{status: 502, body: strings.NewReader(page)} },
		"503 with seconds":    func() answer { return answer{status: 503, header: header("Retry-After", "7")} },
		"403":                 func() answer { return answer{status: 403} },
		"404 for one it had":  func() answer { return answer{status: 404} },
		"200 with a page": func() answer {
			return answer{status: 200, header: header("Content-Type", "text/html"), body: strings.NewReader(page)}
		},
		"200 with nothing":        func() answer { return doc("") },
		"200 with a JSON number":  func() answer { return doc("7") },
		"200 with half a body":    func() answer { return doc(good[:len(good)/2]) },
		"200 and deep nesting":    func() answer { return doc(`{"id":` + strings.Repeat("[", 30_000)) },
		"the document of another": func() answer { return doc(docOf(t, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "evil.example")) },
		"a document without a DID": func() answer {
			return doc(strings.Replace(good, `"id":"`+someDID+`",`, "", 1))
		},
		"sent elsewhere": func() answer { return answer{status: 302, header: header("Location", "https://evil.example/x")} },
		"sent in a ring": func() answer { return answer{status: 302, header: header("Location", "/"+someDID)} },
		"sent to http":   func() answer { return answer{status: 302, header: header("Location", "http://plc.example/"+someDID)} },
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// evil would be believed by whoever follows a redirect.
func evil(t *testing.T, w *wire) {
	w.always("evil.example", func() answer { return doc(docOf(t, someDID, "evil.example")) })
}

func TestAnOutageStopsNobodyWhoseDocumentIsKnown(t *testing.T) {
	for name, outage := range outages(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(wire)
				evil(t, w)
				honest := func() answer { return doc(docOf(t, someDID, "pds.example")) }
				w.always("plc.example", honest)
				r := wired(t, w, nil, "https://plc.example")
				if _, err := r.Lookup(t.Context(), someDID); err != nil {
					t.Fatal(err)
				}
				w.always("plc.example", outage)
				asked := w.count("plc.example")
				time.Sleep(freshFor + time.Minute)
				for hour := range 7 * 24 {
					began := time.Now()
					id, err := r.Lookup(t.Context(), someDID)
					if err != nil || id.Host != "pds.example" || !id.Stale {
						t.Fatalf("after %d h: %+v, %v; want the known document, stale", hour, id, err)
					}
					if took := time.Since(began); took > lookupPatience {
						t.Fatalf("after %d h it took %v", hour, took)
					}
					if id, ok, err := r.Cached(someDID); !ok || err != nil || !id.Stale {
						t.Fatalf("Cached after %d h: %+v, %v, %v", hour, id, ok, err)
					}
					time.Sleep(59 * time.Minute)
				}
				if w.count("plc.example") == asked {
					t.Fatal("the directory was not even asked")
				}
				if n := w.count("evil.example"); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
				w.always("plc.example", honest)
				time.Sleep(maxRetryAfter)
				if id, err := r.Lookup(t.Context(), someDID); err != nil || id.Stale {
					t.Errorf("after the outage: %+v, %v", id, err)
				}
			})
		})
	}
}

func TestAnOutageSaysNothingAboutWhoIsUnknown(t *testing.T) {
	for name, outage := range outages(t) {
		if strings.HasPrefix(name, "404") {
			continue // it is the answer
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(wire)
				evil(t, w)
				w.always("plc.example", outage)
				r := wired(t, w, nil, "https://plc.example")
				began := time.Now()
				_, err := r.Lookup(t.Context(), someDID)
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("%v, want ErrUnavailable", err)
				}
				if took := time.Since(began); took > r.opts.Timeout+dripEvery {
					t.Errorf("it took %v", took)
				}
				if _, ok, err := r.Cached(someDID); ok {
					t.Errorf("it is remembered: %v", err)
				}
			})
		})
	}
}

func TestASecondDirectoryAnswersWhileTheFirstIsOut(t *testing.T) {
	for name, outage := range outages(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(wire)
				evil(t, w)
				w.set("good.example", func(path string) answer { return doc(docOf(t, path[1:], "pds.example")) })
				r := wired(t, w, nil, "https://plc.example", "https://good.example")
				w.set("plc.example", func(path string) answer { return doc(docOf(t, path[1:], "old.example")) })
				if _, err := r.Lookup(t.Context(), someDID); err != nil {
					t.Fatal(err)
				}
				w.always("plc.example", outage)
				if id, err := r.Refresh(t.Context(), someDID); err != nil || id.Stale || id.Host != "pds.example" {
					t.Errorf("Refresh: %+v, %v", id, err)
				}
				if strings.HasPrefix(name, "404") {
					return // for an unknown DID it is an answer
				}
				// The first is left alone soon, or all would wait for it.
				for i := range 2 * maxFailures {
					if id, err := r.Lookup(t.Context(), plcDID(i)); err != nil || id.Host != "pds.example" {
						t.Fatalf("%d: %+v, %v", i, id, err)
					}
				}
				began, first := time.Now(), w.count("plc.example")
				for i := range 50 {
					if _, err := r.Lookup(t.Context(), plcDID(100+i)); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took > 2*r.opts.Timeout {
					t.Errorf("50 lookups took %v", took)
				}
				if n := w.count("plc.example") - first; n > 4 {
					t.Errorf("the first was asked %d times more", n)
				}
			})
		})
	}
}

func TestADirectoryThatComesBackIsFoundByOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return answer{status: 503} })
		r := wired(t, w, nil, "https://plc.example")
		for i := range maxFailures {
			_, _ = r.Lookup(t.Context(), plcDID(i))
		}
		if n := w.count("plc.example"); n != maxFailures {
			t.Fatalf("%d requests, want %d", n, maxFailures)
		}
		var ue *UnavailableError
		if _, err := r.Lookup(t.Context(), someDID); !errors.As(err, &ue) || ue.RetryAfter != restFirst {
			t.Errorf("%v, want to be told to come back in %v", err, restFirst)
		}
		time.Sleep(restFirst)
		w.set("plc.example", func(path string) answer {
			a := doc(docOf(t, path[1:], "pds.example"))
			a.after = time.Second
			return a
		})
		results := make(chan error, 20)
		for i := range 20 {
			go func() {
				_, err := r.Lookup(t.Context(), plcDID(i))
				results <- err
			}()
		}
		ok := 0
		for range 20 {
			if err := <-results; err == nil {
				ok++
			} else if !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		}
		if n := w.count("plc.example") - maxFailures; n != 1 || ok != 1 {
			t.Errorf("%d requests and %d documents, want one each", n, ok)
		}
		for i := range 20 {
			if _, err := r.Lookup(t.Context(), plcDID(i)); err != nil {
				t.Error(err)
			}
		}
	})
}

// What fails together has failed once: it must not look like a long outage.
func TestManyFailuresAtOnceAreOneRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return answer{status: 503, after: time.Second} })
		r := wired(t, w, nil, "https://plc.example")
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() { _, _ = r.Lookup(t.Context(), plcDID(i)) })
		}
		wg.Wait()
		if d := r.fetch.plc[0].rests(); d > restFirst {
			t.Errorf("it is left alone for %v, want %v", d, restFirst)
		}
	})
}

func TestA429WithoutATimeIsGivenMoreAndMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return answer{status: 429} })
		r := wired(t, w, nil, "https://plc.example")
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			var ue *UnavailableError
			_, err := r.Lookup(t.Context(), someDID)
			if !errors.As(err, &ue) || ue.RetryAfter != want*time.Second {
				t.Fatalf("%v (%v), want %d s", err, ue.RetryAfter, want)
			}
			time.Sleep(ue.RetryAfter)
		}
	})
}

func TestRetryAfterIsKeptToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return answer{status: 429, header: header("Retry-After", "120")} })
		r := wired(t, w, func(o *Options) { o.PLCRate = 1000 }, "https://plc.example")
		for i := range 119 {
			if _, err := r.Lookup(t.Context(), plcDID(i)); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			if n := w.count("plc.example"); n != 1 {
				t.Fatalf("asked again after %d s of 120", i)
			}
			time.Sleep(time.Second)
		}
		w.always("plc.example", func() answer { return doc(docOf(t, someDID, "pds.example")) })
		time.Sleep(2 * time.Second)
		if _, err := r.Lookup(t.Context(), someDID); err != nil {
			t.Error(err)
		}
	})
}

// Those who wait for their turn are sent to the next directory when one asks for time.
func TestWhoWaitsForADirectoryThatAsksForTimeGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer {
			return answer{status: 429, after: time.Second, header: header("Retry-After", "600")}
		})
		w.set("good.example", func(path string) answer { return doc(docOf(t, path[1:], "pds.example")) })
		r := wired(t, w, func(o *Options) { o.Concurrent = 2 }, "https://plc.example", "https://good.example")
		results := make(chan error, 100)
		began := time.Now()
		for i := range 100 {
			go func() {
				_, err := r.Lookup(t.Context(), plcDID(i))
				results <- err
			}()
		}
		for range 100 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := w.count("plc.example"); n > 2 || time.Since(began) > 2*time.Second {
			t.Errorf("%d requests to the one that asked for time, in %v", n, time.Since(began))
		}
	})
}

// When everyone waits for a directory that is slow, an account whose document is known
// goes on.
func TestKnownAccountsDoNotWaitInTheQueueOfTheUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		slow := time.Duration(0)
		w.set("plc.example", func(path string) answer {
			a := doc(docOf(t, path[1:], "pds.example"))
			a.after = slow
			return a
		})
		r := wired(t, w, func(o *Options) { o.Concurrent = 2 }, "https://plc.example")
		if _, err := r.Lookup(t.Context(), someDID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(freshFor + time.Hour)
		slow = 4 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 1000 {
			go func() { _, _ = r.Lookup(ctx, plcDID(i)) }()
		}
		synctest.Wait()
		began := time.Now()
		id, err := r.Lookup(t.Context(), someDID)
		if err != nil || !id.Stale {
			t.Errorf("%+v, %v", id, err)
		}
		if id, ok, _ := r.Cached(someDID); !ok || !id.Stale {
			t.Error("the next event waits as well")
		}
		if id, changed, err := r.Announced(t.Context(), someDID); err != nil || changed || !id.Stale {
			t.Errorf("Announced: %+v, %v, %v", id, changed, err)
		}
		if took := time.Since(began); took > lookupPatience+refreshPatience {
			t.Errorf("it took %v", took)
		}
		cancel()
	})
}

func TestContentTypesDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		for i, kind := range []string{"application/did+ld+json", "application/json; charset=utf-8", "text/plain", "text/html", ""} {
			did := plcDID(i)
			w.always("plc.example", func() answer {
				return answer{status: 200, header: header("Content-Type", kind), body: strings.NewReader(docOf(t, did, "pds.example"))}
			})
			r := wired(t, w, nil, "https://plc.example")
			if id, err := r.Lookup(t.Context(), did); err != nil || id.Host != "pds.example" {
				t.Errorf("%q: %+v, %v", kind, id, err)
			}
		}
	})
}

func TestAnAuditLogIsAskedForOnceByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer {
			return answer{status: 200, after: time.Second, body: strings.NewReader(`[]`)}
		})
		r := wired(t, w, nil, "https://plc.example")
		results := make(chan error)
		for range 20 {
			go func() {
				_, err := r.PastKeys(t.Context(), someDID, time.Now())
				results <- err
			}()
		}
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := w.count("plc.example"); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		w.always("plc.example", func() answer { return doc(fmt.Sprint(strings.Repeat(" ", maxAudit), "[]")) })
		if _, err := r.PastKeys(t.Context(), plcDID(1), time.Now()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a log without an end: %v", err)
		}
	})
}
