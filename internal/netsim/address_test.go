package netsim

import (
	"net"
	"testing"
)

func TestAnAddressIsFreeAgainHoweverManyConnectionsAreDialled(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if len(port) != 5 || port >= "32768" {
		t.Errorf("port %s is among those of outgoing connections", port)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhereNoAddressCanBeHadTheErrorSaysWhy(t *testing.T) {
	if l, err := Listen("192.0.2.1"); err == nil {
		l.Close()
		t.Error("listened on an address of nobody's machine")
	}
}
