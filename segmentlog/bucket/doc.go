// Package bucket is the place where an archive is kept: objects by key, written whole,
// under conditions. One interface, Bucket, and two backends: a directory, and any store
// that speaks S3 and keeps the conditions of a write. Package buckettest says what a
// backend must do.
//
// It knows nothing of segments: which keys there are and what they hold is package
// ship's.
package bucket
