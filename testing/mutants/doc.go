// Command mutants breaks Cistern on purpose, one rule at a time, and sees that the
// tests notice.
//
//	go run ./testing/mutants [-v] [-list] [word …]
//
// Each *.patch here is a small change to the code that breaks one rule of
// verification, of the order of events or of recovery. The program applies one after
// the other, runs the tests that guard the rule, and wants them to fail. A mutant
// that they let pass is a missing test.
//
// The checkout is never changed: what a patch changes goes to a temporary folder and
// to the compiler as an overlay. README.md says how to add a mutant.
package main
