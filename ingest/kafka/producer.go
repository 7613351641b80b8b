package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// Producer writes messages to one topic and returns when all in-sync replicas have them. It may be used by several
// goroutines.
type Producer struct {
	w        *kafkago.Writer
	tr       *kafkago.Transport
	topic    string
	produced prometheus.Counter
	failed   prometheus.Counter
}

// NewProducer returns a producer for topic. Messages of one key go to one partition, by the same hash that other
// Kafka clients use. Close it.
func NewProducer(cfg Config, topic string) (*Producer, error) {
	return newProducer(cfg, topic, kafkago.Murmur2Balancer{Consistent: true})
}

// NewDirectProducer is NewProducer for messages whose key is the partition that they go to, as a decimal number.
func NewDirectProducer(cfg Config, topic string) (*Producer, error) {
	return newProducer(cfg, topic, kafkago.BalancerFunc(func(m kafkago.Message, all ...int) int {
		want, err := strconv.Atoi(string(m.Key))
		if err != nil || !slices.Contains(all, want) {
			return all[0] // no caller writes such a key, and a topic does not lose partitions
		}
		return want
	}))
}

func newProducer(cfg Config, topic string, balancer kafkago.Balancer) (*Producer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if topic == "" {
		return nil, errors.New("kafka: producer: a topic is needed")
	}
	tr, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	return &Producer{
		topic: topic, tr: tr, produced: cfg.Metrics.produced.WithLabelValues(topic), failed: cfg.Metrics.produceErrors.WithLabelValues(topic),
		w: &kafkago.Writer{
			Addr: kafkago.TCP(cfg.Brokers...), Topic: topic, Balancer: balancer,
			// The default is not to wait for any acknowledgement at all.
			RequiredAcks: kafkago.RequireAll,
			MaxAttempts:  3, BatchTimeout: 5 * time.Millisecond, BatchSize: 10_000,
			// Below what brokers take by default (message.max.bytes), so that a batch is never refused for what others
			// put into it; a single message above this is refused at once.
			BatchBytes:  1_000_000,
			ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, Transport: tr, Compression: kafkago.Lz4,
		},
	}, nil
}

// Produce writes the messages (Key, Value and Headers count) and returns when all of them are acknowledged. After
// an error some may have been written: whoever tries again writes those twice.
func (p *Producer) Produce(ctx context.Context, messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	out := make([]kafkago.Message, len(messages))
	for i, m := range messages {
		out[i] = kafkago.Message{Key: m.Key, Value: m.Value, Headers: m.Headers}
		if m.Time > 0 {
			out[i].Time = time.UnixMicro(m.Time)
		}
	}
	if err := p.w.WriteMessages(ctx, out...); err != nil {
		p.failed.Inc()
		if tooLarge(err) {
			return fmt.Errorf("kafka: produce to %s: %w: %w", p.topic, ErrTooLarge, err)
		}
		return fmt.Errorf("kafka: produce to %s: %w", p.topic, err)
	}
	p.produced.Add(float64(len(messages)))
	return nil
}

// ErrTooLarge says that a message, or several that were to go together, are larger than the topic takes
// (max.message.bytes). Trying again does not help.
var ErrTooLarge = errors.New("larger than the topic takes")

func tooLarge(err error) bool {
	var one kafkago.MessageTooLargeError
	if errors.As(err, &one) || errors.Is(err, kafkago.MessageSizeTooLarge) {
		return true
	}
	var many kafkago.WriteErrors
	return errors.As(err, &many) && slices.ContainsFunc(many, func(err error) bool { return err != nil && tooLarge(err) })
}

// Close waits for what is being written and ends the connections.
func (p *Producer) Close() error {
	err := p.w.Close()
	p.tr.CloseIdleConnections()
	return err
}
