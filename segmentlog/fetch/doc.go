// Package fetch reads large objects of a bucket in parts, for many readers at once.
//
// A Fetcher keeps the parts that it read in a folder, up to a number of bytes, and
// drops the least recently used. Readers that want the same part share one request. A
// reader that goes from part to part has the next ones fetched before it asks.
//
// It is no copy of the bucket: the folder begins empty and goes with the Fetcher. It
// checks no bytes: whoever finds them wrong calls Forget and reads once more. It writes
// nothing to the bucket, and the objects that it reads must never change.
//
// What always holds:
//
//   - The files in the folder are at most CacheBytes long together, but for parts that
//     are just being exchanged: at most MaxRequests more.
//   - At most MaxRequests part buffers are in memory, and so many requests are made.
//   - A part that is being read is not removed.
//   - Readers are served in the order in which they began to wait. Read-ahead goes only
//     when no reader waits and never takes the last request, so a reader waits for at
//     most one part of it.
//   - An error is for those that wait for it; it is not kept.
package fetch
