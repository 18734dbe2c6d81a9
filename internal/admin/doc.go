// Package admin is the operator's API under /admin/: the paths and shapes of the
// reference relay, behind basic authentication (user admin). It passes
// decisions on and shows what is; it keeps nothing.
package admin
