package bus

// The streams and buckets.
const (
	jobsStream    = "NETLAB_JOBS"
	logsStream    = "NETLAB_LOGS"
	objectsStream = "NETLAB_OBJECTS"
	hostsBucket   = "netlab_hosts"
	hostsStream   = "KV_" + hostsBucket
	placesBucket  = "netlab_placements"
	placesStream  = "KV_" + placesBucket
	// retentionBucket says in its one key which jobs were let go.
	retentionBucket = "netlab_retention"
	retentionStream = "KV_" + retentionBucket
	intake          = "netlab.in."
	public          = "netlab.jobs."
	// Pieces of objects are for their host alone: they are not republished. The publish itself reaches every subscriber of
	// the intake subject, as that of everything else does: who may subscribe to the intake subjects is for the account's
	// permissions.
	objectsIntake  = "netlab.put."
	objectsPublic  = "netlab.objects."
	endpointPrefix = "netlab.hosts."
)

// The last token of a job's subjects.
const (
	kindRequest = "request"
	kindStatus  = "status"
	kindLog     = "log"
	kindCancel  = "cancel"
)

// everySubject is the filter of who follows a stream. One that names the subjects has the server look through all that are
// there for each message that it gives out, and again when messages are purged.
const everySubject = ">"

// A publish goes to the intake subject; the stream stores it under the public one and republishes it there. A core
// subscriber of the public subject therefore sees only what was committed, never the publish of somebody who lost.
func intakeSubject(host, id, kind string) string { return intake + host + "." + id + "." + kind }

func publicSubject(host, id, kind string) string { return public + host + "." + id + "." + kind }
