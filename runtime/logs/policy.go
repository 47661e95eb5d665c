package logs

import "github.com/containercloud/cc/runtime/logs/drain"

// Policy is how a log is bounded; see drain.Policy.
type Policy = drain.Policy
