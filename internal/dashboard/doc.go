// Package dashboard is the pages for people: the one at / says what this relay is and how to
// connect, the one at /admin/ shows an operator how it does. They are rendered here, from
// what the rest of the program knows, with everything they need embedded; a small script
// keeps them live. It keeps nothing but the rates of the last minutes, and decides nothing:
// its buttons call the admin API.
package dashboard
