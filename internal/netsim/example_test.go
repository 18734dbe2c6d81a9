package netsim_test

import (
	"fmt"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// A relay that serves every accepted frame under numbers of its own passes the
// comparison.
func Example() {
	n, err := netsim.New(netsim.Options{Seed: 1, Hosts: 2, Accounts: 5, Records: 20, Offline: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = n.Close() }()
	for range 20 {
		if err := n.Step(); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := n.Host(0).Lie("signature-wrong-key"); err != nil {
		fmt.Println(err)
	}
	ledger := n.Ledger()
	c := netsim.NewComparison(ledger)
	for i := range ledger {
		ledger[i].Sent = 1 // with listeners the network counts this itself
		frame, err := n.Frame(i)
		if err == nil && ledger[i].Outcome == netsim.Accept {
			frame, err = netsim.Splice(frame, uint64(i+1))
			c.Add(frame)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	last := ledger[len(ledger)-1]
	fmt.Println(last.Lie, last.Outcome, last.Row, c.Report().Err())
	// Output: signature-wrong-key drop 26 <nil>
}
