package embedded

import (
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// KafkaOptions of a broker.
type KafkaOptions struct {
	Topics map[string]int32 // topics to make, with how many partitions
	Port   int              // on loopback; default: one that is free
	Dir    string           // where records are kept; in memory when empty
	// Retain bounds a partition's log, bytes, checked once a minute: what was read long ago is dropped first.
	// Default: everything is kept.
	Retain int64
}

// Kafka is a broker in this process, on loopback. Records written to it are gone with it unless it has a Dir.
type Kafka struct{ cluster *kfake.Cluster }

// StartKafka starts a broker.
func StartKafka(opt KafkaOptions) (*Kafka, error) {
	options := []kfake.Opt{kfake.NumBrokers(1)}
	for name, partitions := range opt.Topics {
		options = append(options, kfake.SeedTopics(partitions, name))
	}
	if opt.Port != 0 {
		options = append(options, kfake.Ports(opt.Port))
	}
	if opt.Dir != "" {
		options = append(options, kfake.DataDir(opt.Dir))
	}
	if opt.Retain > 0 {
		options = append(options, kfake.BrokerConfigs(map[string]string{
			"log.retention.bytes": strconv.FormatInt(opt.Retain, 10), "log.cleaner.backoff.ms": "60000",
		}))
	}
	c, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	for _, a := range c.ListenAddrs() {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			c.Close()
			return nil, fmt.Errorf("embedded broker: it listens on %s, which is not loopback", a)
		}
	}
	return &Kafka{c}, nil
}

// Brokers are the addresses to connect to.
func (k *Kafka) Brokers() []string { return k.cluster.ListenAddrs() }

// Stop ends the broker.
func (k *Kafka) Stop() { k.cluster.Close() }
