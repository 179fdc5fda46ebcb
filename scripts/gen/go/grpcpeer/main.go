// grpcpeer holds the Go gRPC peers: a server and a client in one process that
// talk over plaintext h2c. The client writes down what it saw, one JSON object
// per line.
//
//	grpcpeer MODE ADDR [TRUTH]
//
// shoppb is generated from ../../proto/shop.proto by scripts/gen-testdata.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"shoppb"
)

type grpcTruth struct {
	Service  string `json:"service"`
	Method   string `json:"method"`
	Status   *int   `json:"status"`
	Requests int    `json:"request_messages"`
	Replies  int    `json:"response_messages"`
}

type tx struct {
	Protocol  string     `json:"protocol"`
	Method    string     `json:"method"`
	Authority string     `json:"authority"`
	Path      string     `json:"path"`
	Status    *int       `json:"status"`
	ReqBytes  *int64     `json:"request_body_bytes"`
	RespBytes *int64     `json:"response_body_bytes"`
	Grpc      *grpcTruth `json:"grpc"`
	Note      string     `json:"note,omitempty"`
}

// watch is the stats.Handler of the client.
type watch struct {
	addr string
	note string // for the calls to come
	mu   sync.Mutex
	list []*tx
}

type key struct{}

func (w *watch) TagRPC(ctx context.Context, i *stats.RPCTagInfo) context.Context {
	p := strings.SplitN(strings.TrimPrefix(i.FullMethodName, "/"), "/", 2)
	t := &tx{Protocol: "h2", Method: "POST", Authority: w.addr, Path: i.FullMethodName,
		ReqBytes: new(int64), RespBytes: new(int64), Grpc: &grpcTruth{Service: p[0], Method: p[1]}}
	w.mu.Lock()
	t.Note = w.note
	w.list = append(w.list, t)
	w.mu.Unlock()
	return context.WithValue(ctx, key{}, t)
}

func (w *watch) HandleRPC(ctx context.Context, s stats.RPCStats) {
	t := ctx.Value(key{}).(*tx)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch s := s.(type) {
	case *stats.OutPayload:
		t.Grpc.Requests++
		*t.ReqBytes += int64(s.WireLength)
	case *stats.InPayload:
		t.Grpc.Replies++
		*t.RespBytes += int64(s.WireLength)
	case *stats.InHeader:
		ok := 200
		t.Status = &ok
	case *stats.InTrailer:
		// The status came over the wire (and, trailers-only, the header too).
		ok := 200
		t.Status = &ok
		code := -1
		t.Grpc.Status = &code
	case *stats.End:
		if t.Grpc.Status != nil {
			*t.Grpc.Status = int(status.Code(s.Error))
		} else {
			t.Note = strings.TrimPrefix(t.Note+"; the client ended with "+status.Code(s.Error).String()+", no status was received", "; ")
		}
	}
}
func (w *watch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (w *watch) HandleConn(context.Context, stats.ConnStats)                       {}

type shop struct{}

func item(id int64) *shoppb.Item {
	return &shoppb.Item{Id: id, Name: fmt.Sprintf("item %d", id), Price: float64(id) * 1.25,
		Tags: []string{"new", "blue"}, Labels: map[string]string{"shelf": fmt.Sprint(id % 7)}}
}

func (shop) GetItem(ctx context.Context, r *shoppb.GetItemRequest) (*shoppb.Item, error) {
	switch {
	case r.Id == 404:
		return nil, status.Error(codes.NotFound, "no item 404: naïve 100% \"quoted\"")
	case r.Id == 403:
		return nil, status.Error(codes.PermissionDenied, "")
	case r.Id == 500:
		return nil, fmt.Errorf("plain error") // becomes Unknown
	case r.Id == 429:
		grpc.SendHeader(ctx, metadata.Pairs("x-early", "yes")) // so not trailers-only
		return nil, status.Error(codes.ResourceExhausted, "slow down")
	case r.Id >= 20000: // the same, but deaf to cancellation
		time.Sleep(time.Duration(r.Id-20000) * time.Millisecond)
	case r.Id >= 10000: // answers after id-10000 ms
		select {
		case <-time.After(time.Duration(r.Id-10000) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case r.Id >= 1000: // a big one
		it := item(r.Id)
		for i := 0; i < 200; i++ {
			it.Tags = append(it.Tags, fmt.Sprintf("tag-%d", i))
		}
		return it, nil
	}
	grpc.SetTrailer(ctx, metadata.Pairs("x-cost", "3", "x-trace-bin", string([]byte{0, 1, 2, 254, 255})))
	return item(r.Id), nil
}

func (shop) ListItems(r *shoppb.ListItemsRequest, s shoppb.Shop_ListItemsServer) error {
	for i := int64(1); i <= int64(r.Count); i++ {
		if err := s.Send(item(i)); err != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(r.PauseMs) * time.Millisecond):
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
	return nil
}

func (shop) PutItems(s shoppb.Shop_PutItemsServer) error {
	sum := &shoppb.Summary{}
	for {
		it, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(sum)
		}
		if err != nil {
			return err
		}
		sum.Items++
		sum.Total += it.Price
	}
}

func (shop) Chat(s shoppb.Shop_ChatServer) error {
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetText() == "boom" {
			return status.Error(codes.Aborted, "boom received")
		}
		if err := s.Send(&shoppb.ChatMessage{From: "server", Body: &shoppb.ChatMessage_Text{Text: "re: " + m.GetText()}}); err != nil {
			return err
		}
	}
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: grpcpeer MODE ADDR [TRUTH]")
	}
	mode, addr := os.Args[1], os.Args[2]
	l, err := net.Listen("tcp", addr)
	check(err)
	srv := grpc.NewServer()
	shoppb.RegisterShopServer(srv, shop{})
	hs := health.NewServer()
	healthpb.RegisterHealthServer(srv, hs)
	go srv.Serve(l)
	if mode == "serve" {
		select {}
	}

	w := &watch{addr: addr}
	conn, err := grpc.Dial(addr, grpc.WithInsecure(), grpc.WithBlock(), grpc.WithStatsHandler(w), grpc.WithUserAgent("grpcpeer/1"))
	check(err)
	c := shoppb.NewShopClient(conn)
	bg, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	get := func(ctx context.Context, id int64, o ...grpc.CallOption) {
		it, err := c.GetItem(ctx, &shoppb.GetItemRequest{Id: id}, o...)
		log.Printf("GetItem(%d) -> %v, %v", id, it.GetName(), err)
	}
	switch mode {
	case "unary":
		for _, id := range []int64{1, 42, 300} {
			get(metadata.AppendToOutgoingContext(bg, "x-request-id", fmt.Sprint("r-", id), "x-token-bin", "\x00\x01\xff"), id)
		}
		r, err := healthpb.NewHealthClient(conn).Check(bg, &healthpb.HealthCheckRequest{})
		log.Print(r, err)
	case "errors":
		for _, id := range []int64{404, 403, 500, 429} {
			get(bg, id)
		}
		err := conn.Invoke(bg, "/shop.v1.Shop/NoSuchMethod", &shoppb.GetItemRequest{Id: 1}, &shoppb.Item{})
		log.Print(err)
		err = conn.Invoke(bg, "/shop.v1.NoSuchService/Get", &shoppb.GetItemRequest{Id: 1}, &shoppb.Item{})
		log.Print(err)
		get(bg, 7)
	case "gzip":
		get(bg, 1000, grpc.UseCompressor(gzip.Name))
		get(bg, 5, grpc.UseCompressor(gzip.Name))
		s, err := c.PutItems(bg, grpc.UseCompressor(gzip.Name))
		check(err)
		for i := int64(1); i <= 3; i++ {
			it := item(i)
			it.Name = strings.Repeat("long name ", 50)
			check(s.Send(it))
		}
		sum, err := s.CloseAndRecv()
		log.Print(sum, err)
		get(bg, 1000)
	case "streams":
		ls, err := c.ListItems(bg, &shoppb.ListItemsRequest{Count: 5, PauseMs: 5})
		check(err)
		for {
			if _, err := ls.Recv(); err != nil {
				log.Print(err)
				break
			}
		}
		ps, err := c.PutItems(bg)
		check(err)
		for i := int64(1); i <= 4; i++ {
			check(ps.Send(item(i)))
			time.Sleep(5 * time.Millisecond)
		}
		sum, err := ps.CloseAndRecv()
		log.Print(sum, err)
		cs, err := c.Chat(bg)
		check(err)
		for i := 0; i < 3; i++ {
			check(cs.Send(&shoppb.ChatMessage{From: "client", Body: &shoppb.ChatMessage_Text{Text: fmt.Sprint("hello ", i)}}))
			m, err := cs.Recv()
			log.Print(m, err)
		}
		check(cs.CloseSend())
		_, err = cs.Recv()
		log.Print(err)
	case "cancel":
		get(bg, 1)
		// A server stream, left after three messages: RST_STREAM(CANCEL).
		ctx, cancel := context.WithCancel(bg)
		w.note = "the client cancels after 3 messages"
		ls, err := c.ListItems(ctx, &shoppb.ListItemsRequest{Count: 50, PauseMs: 20})
		check(err)
		for i := 0; i < 3; i++ {
			_, err := ls.Recv()
			check(err)
		}
		cancel()
		_, err = ls.Recv()
		log.Print(err)
		// A unary call that is left before there is an answer.
		ctx, cancel = context.WithCancel(bg)
		w.note = "the client cancels after 50 ms"
		time.AfterFunc(50*time.Millisecond, cancel)
		get(ctx, 10300)
		w.note = ""
		get(bg, 2)
		time.Sleep(350 * time.Millisecond)
	case "deadline":
		ctx, cancel := context.WithTimeout(bg, 80*time.Millisecond)
		get(ctx, 20300)
		cancel()
		get(bg, 3)
		time.Sleep(300 * time.Millisecond)
	case "shutdown":
		// GracefulStop: GOAWAY while a call is in flight.
		done := make(chan bool)
		get(bg, 1)
		go func() { get(bg, 10300); done <- true }()
		time.Sleep(100 * time.Millisecond)
		srv.GracefulStop()
		<-done
	case "broken":
		// The server goes away at once: the calls end UNAVAILABLE.
		done := make(chan bool)
		get(bg, 1)
		w.note = "the server stops hard while the call is in flight"
		go func() { get(bg, 10300); done <- true }()
		time.Sleep(100 * time.Millisecond)
		srv.Stop()
		<-done
	default:
		log.Fatalf("unknown mode %q", mode)
	}
	conn.Close()
	time.Sleep(50 * time.Millisecond)
	if len(os.Args) > 3 {
		f, err := os.Create(os.Args[3])
		check(err)
		w.mu.Lock()
		for _, t := range w.list {
			b, err := json.Marshal(t)
			check(err)
			f.Write(append(b, '\n'))
		}
		w.mu.Unlock()
		check(f.Close())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
