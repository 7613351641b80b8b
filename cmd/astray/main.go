// Command astray flags the agents that have gone astray.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/deploy/embedded"
)

// version is set by the build.
var version = "0.1.0-dev"

// usageError is a mistake in how the command was called: exit status 2.
type usageError struct{ error }

func main() {
	embedded.MaybeChild()
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs a command line and returns the exit status: 0 ok, 1 failed, 2 bad usage or configuration.
func execute(args []string, in io.Reader, out, errs io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "astray:", err)
	var u usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "astray", Short: "Flags the AI agents that have gone astray",
		Example:      "  astray run --config deploy/astray.yaml\n  astray replay --events events.ndjson.zst --alerts -",
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(alertsCommand(os.Getenv), checkConfigCommand(), deadLettersCommand(os.Getenv), decodeCommand(), demoCommand(), migrateCommand(), replayCommand(), runCommand(), simulateCommand(), suppressCommand(os.Getenv), testCommand(), tuneCommand(), versionCommand())
	// Cobra tells a wrong argument from a failed run by the message only; here they differ in exit status.
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		c.SuggestionsMinimumDistance = 2
		if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
			c.Args = subcommandArgs
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		} else {
			c.Args = usageArgs(c.Args)
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(root)
	return root
}

// subcommandArgs says what may follow a command that has others under it.
func subcommandArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s: there is no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{errors.New(text)}
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
