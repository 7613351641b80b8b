package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// TopicID tells a topic from one of the same name that was deleted before it. The zero value is unknown: brokers before
// Kafka 2.8 have none.
type TopicID [16]byte

// leader asks the broker that leads a partition. It belongs to one goroutine and has connections of its own: a broker
// works off the requests of a connection one after the other, and one that waits for data holds up the rest.
//
// Requests are made by franz-go, whose answers hold what kafka-go keeps to itself: which transactions were aborted, and which
// topic of the name it was that was read.
type leader struct {
	topic     string
	partition int32
	cfg       Config
	cl        *kgo.Client // nil until needed
	broker    int32       // -1: to be looked up
	id        TopicID     // of the topic that broker leads, as of the look-up
}

// client options for requests of one partition.
func (c Config) franz() ([]kgo.Opt, error) {
	t, _, err := c.security()
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.DialTimeout(c.DialTimeout), kgo.RequestTimeoutOverhead(c.Timeout),
		kgo.RetryTimeout(c.Timeout), kgo.RequestRetries(3), kgo.DisableClientMetrics(),
		// A batch that is larger than a fetch is to be is sent all the same.
		kgo.BrokerMaxReadBytes(int32(max(100<<20, min(2*c.FetchMaxBytes, 1<<30))))}
	if t != nil {
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	switch s := c.SASL; s.Mechanism {
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism()))
	}
	return opts, nil
}

func newLeader(cfg Config, topic string, partition int32) *leader {
	return &leader{topic: topic, partition: partition, cfg: cfg, broker: -1}
}

// forget makes the next request look the leader up again.
func (l *leader) forget() { l.broker = -1 }

// close ends the connections; the next request makes new ones.
func (l *leader) close() {
	l.forget()
	if l.cl != nil {
		l.cl.Close()
		l.cl = nil
	}
}

// find looks up who leads the partition, unless it is known.
func (l *leader) find(ctx context.Context) error {
	if l.cl == nil {
		opts, err := l.cfg.franz()
		if err != nil {
			return err
		}
		if l.cl, err = kgo.NewClient(opts...); err != nil {
			return fmt.Errorf("kafka: %w", err)
		}
	}
	if l.broker >= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout+l.cfg.Timeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(l.topic)
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return fmt.Errorf("leader of %s/%d: %w", l.topic, l.partition, err)
	}
	for _, t := range res.Topics {
		if t.Topic == nil || *t.Topic != l.topic {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("leader of %s/%d: %w", l.topic, l.partition, err)
		}
		for _, p := range t.Partitions {
			if p.Partition != l.partition {
				continue
			}
			// A leader may be named although another replica is gone: of errors only those without a leader count.
			if p.Leader < 0 {
				return fmt.Errorf("leader of %s/%d: %w", l.topic, l.partition, errors.Join(kerr.LeaderNotAvailable, kerr.ErrorForCode(p.ErrorCode)))
			}
			l.broker, l.id = p.Leader, t.TopicID
			return nil
		}
	}
	return fmt.Errorf("leader of %s/%d: the topic has no such partition", l.topic, l.partition)
}

// fetch asks for records from offset on, once.
func (l *leader) fetch(ctx context.Context, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	if err := l.find(ctx); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(l.cfg.FetchMaxWait.Milliseconds()), 1, int32(l.cfg.FetchMaxBytes)
	req.IsolationLevel = committed
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = l.topic, l.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = l.partition, offset, int32(l.cfg.FetchMaxBytes)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.FetchMaxWait+l.cfg.DialTimeout+l.cfg.Timeout)
	defer cancel()
	res, err := req.RequestWith(ctx, l.cl.Broker(int(l.broker)))
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
		return nil, err
	}
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			if p := &res.Topics[i].Partitions[j]; p.Partition == l.partition {
				return p, kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	return nil, errors.New("the answer to a fetch is about another partition")
}

// bounds asks for the offsets of the oldest record, of the first one that an open transaction holds back (the end, if none
// does), and of the end of the log.
func (l *leader) bounds(ctx context.Context) (first, stable, end int64, err error) {
	if first, err = l.offset(ctx, oldest, uncommitted); err != nil {
		return 0, 0, 0, err
	}
	if stable, err = l.offset(ctx, newest, committed); err != nil {
		return 0, 0, 0, err
	}
	end, err = l.offset(ctx, newest, uncommitted)
	return first, stable, end, err
}

// What ListOffsets takes for a time, and isolation levels.
const (
	newest      = -1
	oldest      = -2
	uncommitted = 0
	committed   = 1
)

func (l *leader) offset(ctx context.Context, which int64, isolation int8) (int64, error) {
	if err := l.find(ctx); err != nil {
		return 0, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, isolation
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = l.topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = l.partition, which
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout+l.cfg.Timeout)
	defer cancel()
	res, err := req.RequestWith(ctx, l.cl.Broker(int(l.broker)))
	if err == nil {
		err = fmt.Errorf("the answer is about another partition")
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if p.Partition != l.partition {
					continue
				}
				if err = kerr.ErrorForCode(p.ErrorCode); err == nil {
					return p.Offset, nil
				}
			}
		}
	}
	l.forget()
	return 0, fmt.Errorf("offsets of %s/%d: %w", l.topic, l.partition, err)
}
