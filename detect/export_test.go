package detect

// Squeeze and Swell are what folds a state and unfolds it.
func Squeeze(src []byte) []byte        { return squeeze(nil, src) }
func Swell(src []byte) ([]byte, error) { return swell(src) }
