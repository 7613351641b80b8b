// Command report reads `go test -json` on standard input, shows what failed, and ends with how many tests
// passed and failed. It exits with 1 when a test or a build failed, or when no test ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var passed, failed, skipped int
	broken := false
	output := map[string][]string{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var e struct {
			Action, Package, ImportPath, Test, Output string
			Elapsed                                   float64
		}
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text())
			continue
		}
		key := e.Package + " " + e.Test
		if e.ImportPath != "" {
			key = e.ImportPath // what the compiler says of a package
		}
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
		case "build-fail":
			failed++ // a package that does not build is a failure, if one that counts no tests
			broken = true
			fmt.Println("FAIL", key)
			for _, line := range output[key] {
				fmt.Print("     ", line)
			}
		case "skip":
			if e.Test != "" {
				skipped++
				fmt.Println("skipped:", key)
			}
		case "pass":
			if e.Test != "" {
				passed++
			} else {
				fmt.Printf("ok   %-60s %.1fs\n", e.Package, e.Elapsed)
			}
			delete(output, key)
		case "fail":
			if e.Test != "" {
				failed++
			}
			broken = true
			fmt.Println("FAIL", key)
			for _, line := range output[key] {
				fmt.Print("     ", line)
			}
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	fmt.Printf("%d skipped\n%d passed, %d failed\n", skipped, passed, failed)
	if broken || passed == 0 {
		os.Exit(1)
	}
}
