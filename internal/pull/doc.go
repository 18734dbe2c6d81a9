// Package pull takes an archive, or a part of it, away into a folder:
//
//	OUT/stream.json  OUT/suppressed.jsonl
//	OUT/catalog/2026-11-27.jsonl
//	OUT/segments/2026/11/27/<name>
//
// which is laid out as a bucket is, so that everything that reads an archive reads it.
// A file is downloaded under the name <name>.part, proven against the catalog and its own
// footer, synced, verified whole behind the downloads, and renamed: what has its name is
// whole. A run goes on where another was stopped, downloads only what is not there, takes
// newer generations and then removes those that they replace.
package pull
