package pipeline

// child reports whether this process was started by a test as the engine to be killed.
func child() bool { return false }
