package bucket_test

import (
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
)

func TestTheBucketOfOtherTestsIsABucket(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket { return buckettest.NewMemory() })
}
