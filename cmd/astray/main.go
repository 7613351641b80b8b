// Command astray flags the agents that have gone astray.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/deploy/embedded"
)

// version is set by the build.
var version = "0.1.0-dev"

// usageError is a mistake in how the command was called: exit status 2.
type usageError struct{ error }

func main() {
	embedded.MaybeChild()
	root := &cobra.Command{
		Use: "astray", Short: "Flags the AI agents that have gone astray",
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(decodeCommand(), demoCommand(), migrateCommand(), replayCommand(), runCommand(), simulateCommand(), versionCommand())
	// Cobra tells a wrong argument from a failed run by the message only; here they differ in exit status.
	root.Args = usageArgs(cobra.NoArgs)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "astray:", err)
		var u usageError
		if errors.As(err, &u) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Example: "  astray version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "astray", version) }}
}
