package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// TopicSpec is a topic as it should be made. Topics that exist are left as they are.
type TopicSpec struct {
	Name       string
	Partitions int               // default 1
	Replicas   int               // default: the broker's
	MaxBytes   int               // largest message; default: the broker's
	Settings   map[string]string // further topic settings, by Kafka's names
}

// CreateTopics makes the topics that do not exist yet.
func CreateTopics(ctx context.Context, cfg Config, topics ...TopicSpec) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	tr, err := cfg.transport()
	if err != nil {
		return err
	}
	defer tr.CloseIdleConnections()
	req := &kafkago.CreateTopicsRequest{}
	for _, t := range topics {
		c := kafkago.TopicConfig{Topic: t.Name, NumPartitions: max(t.Partitions, 1), ReplicationFactor: t.Replicas}
		if t.Replicas <= 0 {
			c.ReplicationFactor = -1
		}
		if t.MaxBytes > 0 {
			c.ConfigEntries = append(c.ConfigEntries, kafkago.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(t.MaxBytes)})
		}
		for k, v := range t.Settings {
			c.ConfigEntries = append(c.ConfigEntries, kafkago.ConfigEntry{ConfigName: k, ConfigValue: v})
		}
		req.Topics = append(req.Topics, c)
	}
	client := &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: cfg.Timeout, Transport: tr}
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("kafka: create topics: %w", because(ctx, cfg, err))
	}
	var all error
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
			all = errors.Join(all, fmt.Errorf("kafka: create topic %s: %w", name, err))
		}
	}
	return all
}

// Partitions asks how many partitions a topic has.
func Partitions(ctx context.Context, cfg Config, topic string) (int, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return 0, err
	}
	tr, err := cfg.transport()
	if err != nil {
		return 0, err
	}
	defer tr.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: cfg.Timeout, Transport: tr}
	for attempt := 1; ; attempt++ {
		n, err := partitions(ctx, client, topic)
		if err == nil {
			return n, nil
		}
		// A topic that was only just made is not known everywhere at once.
		if attempt == 10 || !sleep(ctx, backoff(attempt, 50*time.Millisecond, 2*time.Second)) {
			return 0, fmt.Errorf("kafka: partitions of %s: %w", topic, err)
		}
	}
}

func partitions(ctx context.Context, client *kafkago.Client, topic string) (int, error) {
	meta, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	for _, t := range meta.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return 0, t.Error
		}
		if len(t.Partitions) > 0 {
			return len(t.Partitions), nil
		}
	}
	return 0, errors.New("the brokers do not know it")
}

// because finds out why no broker could be asked: the transport says only that none is available, and whoever reads
// that looks for a broker that is down, not for a certificate or a password that is wrong.
func because(ctx context.Context, cfg Config, cause error) error {
	var k kafkago.Error
	if errors.As(cause, &k) && k != kafkago.BrokerNotAvailable {
		return cause
	}
	dialer, bad := cfg.dialer()
	if bad != nil {
		return bad
	}
	var all error
	for _, broker := range cfg.Brokers {
		conn, err := dialer.DialContext(ctx, "tcp", broker)
		if err == nil {
			// With TLS 1.3 a broker that does not like the client's certificate says so at the first request.
			_, err = conn.Brokers()
			conn.Close()
		}
		if err == nil {
			return cause
		}
		all = errors.Join(all, fmt.Errorf("%s: %w", broker, err))
	}
	return all
}

// oldPartitions returns the number of partitions that the topic has, or 0 when the group has committed an offset in one of
// them: then it has been reading, and what it has no offset of came later.
func oldPartitions(ctx context.Context, cfg Config) (int, error) {
	n, err := Partitions(ctx, cfg, cfg.Topic)
	if err != nil {
		return 0, err
	}
	tr, err := cfg.transport()
	if err != nil {
		return 0, err
	}
	defer tr.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: cfg.Timeout, Transport: tr}
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	res, err := client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: cfg.Group, Topics: map[string][]int{cfg.Topic: ids}})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafkago.GroupIdNotFound) {
		return n, nil
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: offsets of group %s: %w", cfg.Group, err)
	}
	for _, p := range res.Topics[cfg.Topic] {
		if p.Error != nil {
			return 0, fmt.Errorf("kafka: offsets of group %s: partition %d: %w", cfg.Group, p.Partition, p.Error)
		}
		if p.CommittedOffset >= 0 {
			return 0, nil
		}
	}
	return n, nil
}
