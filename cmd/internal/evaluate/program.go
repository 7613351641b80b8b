package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/astray-dev/astray/detect/alert"
)

// output runs a program and returns what it printed; its complaints are in the error.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, complaints.String())
	}
	if strings.Contains(complaints.String(), "rejected") {
		return "", fmt.Errorf("%s %s: %s", filepath.Base(name), strings.Join(args, " "), complaints.String())
	}
	return string(out), nil
}

// scores reads score lines. Of a line only the number is needed, and there are millions.
func scores(r io.Reader, use func(n int, score float64) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<16), 1<<20)
	key := []byte(`"score":`)
	n := 0
	for ; in.Scan(); n++ {
		line := in.Bytes()
		i := bytes.Index(line, key) // an id cannot hold it unescaped
		if i < 0 {
			return fmt.Errorf("score line %d has no score: %q", n+1, line)
		}
		rest := line[i+len(key):]
		j := bytes.IndexByte(rest, ',')
		v, err := strconv.ParseFloat(string(rest[:max(j, 0)]), 64)
		if err != nil {
			return fmt.Errorf("score line %d: %w", n+1, err)
		}
		if err := use(n, v); err != nil {
			return err
		}
	}
	return in.Err()
}

func readAlerts(path string) ([]alert.Alert, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []alert.Alert
	for dec := json.NewDecoder(f); ; {
		var a alert.Alert
		if err := dec.Decode(&a); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, a)
	}
}

// scored is what score.py prints.
type scored struct {
	items, positive int
	auc             float64
	at              map[string]rates // by false-positive rate as printed
}

type rates struct {
	tpr, macro float64
	label      map[string]float64
}

var (
	headLine = regexp.MustCompile(`items (\d+) positive (\d+)\s+AUC (\S+)`)
	rateLine = regexp.MustCompile(`FPR<=(\S+)\s+TPR (\S+)\s+macro-TPR (\S+)\s+\{(.*)\}`)
	labelled = regexp.MustCompile(`'([^']*)': ([0-9.]+)`)
)

func parseScored(out string) (scored, error) {
	m := headLine.FindStringSubmatch(out)
	if m == nil {
		return scored{}, fmt.Errorf("score.py printed %q", out)
	}
	s := scored{at: map[string]rates{}}
	s.items, _ = strconv.Atoi(m[1])
	s.positive, _ = strconv.Atoi(m[2])
	s.auc, _ = strconv.ParseFloat(m[3], 64)
	for _, m := range rateLine.FindAllStringSubmatch(out, -1) {
		r := rates{label: map[string]float64{}}
		r.tpr, _ = strconv.ParseFloat(m[2], 64)
		r.macro, _ = strconv.ParseFloat(m[3], 64)
		for _, l := range labelled.FindAllStringSubmatch(m[4], -1) {
			r.label[l[1]], _ = strconv.ParseFloat(l[2], 64)
		}
		s.at[m[1]] = r
	}
	return s, nil
}
