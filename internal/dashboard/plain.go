package dashboard

import "text/template"

// plain is the front page for who asks without a browser.
var plain = template.Must(template.New("").Parse(`This is Cistern, an AT Protocol relay that keeps every drop.

The event stream: {{.Scheme}}://{{.Host}}/xrpc/com.atproto.sync.subscribeRepos
Add ?cursor=0 for everything from the first event on.
{{with .Stream.Oldest}}{{if .Seq}}The oldest event: seq {{.Seq}}{{if not .Time.IsZero}}, {{.Time.UTC.Format "2006-01-02T15:04:05Z"}}{{end}}
{{end}}{{end}}`))
