//go:build !windows

package embedded

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// MaybeChild becomes the ClickHouse child when this process was started as one, and does not return then.
// Call it first in main and in TestMain.
func MaybeChild() {
	lib := os.Getenv(childLib)
	if lib == "" {
		return
	}
	runtime.LockOSThread()
	handle, err := purego.Dlopen(lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse library:", err)
		os.Exit(1)
	}
	var run func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	purego.RegisterLibFunc(&run, handle, "chdb_query_cmdline")
	// The library's entry is clickhouse-local's main: the program's name, then the options, no "local".
	args := append([]string{"clickhouse"}, os.Args[2:]...)
	texts := make([][]byte, len(args))
	argv := make([]*byte, len(args)+1)
	for i, a := range args {
		texts[i] = append([]byte(a), 0)
		argv[i] = &texts[i][0]
	}
	var pin runtime.Pinner
	for i := range texts {
		pin.Pin(argv[i])
	}
	result := run(int32(len(args)), unsafe.Pointer(&argv[0]))
	runtime.KeepAlive(argv)
	// Also keeps the pinner reachable while the server runs: one that is collected with pins panics, and the runtime
	// collects every two minutes even when nothing happens.
	pin.Unpin()
	// The library keeps what clickhouse-local would have printed; an error is in the result alone.
	var failure func(unsafe.Pointer) string
	purego.RegisterLibFunc(&failure, handle, "chdb_result_error")
	if result != nil {
		if text := failure(result); text != "" {
			fmt.Fprintln(os.Stderr, text)
			os.Exit(1)
		}
	}
	os.Exit(0)
}
