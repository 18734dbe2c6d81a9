// Package admin is the operator's API under /admin/: the paths and shapes of the
// reference relay, behind basic authentication (user admin). It shows; it decides
// nothing.
package admin
