// httppeer holds the Go net/http peers of the HTTP captures: a server, and a
// client that writes down what it sent and what it got.
//
//	httppeer serve ADDR              only the server (HTTP/1.1, h2c, h2c Upgrade)
//	httppeer MODE ADDR [TRUTH]       server and client of one case; client-...: only the client
//
// Bodies are deterministic; TRUTH gets one JSON object per line, in the order
// in which the requests were started.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

type tx struct {
	Protocol  string  `json:"protocol"`
	Method    string  `json:"method"`
	Authority string  `json:"authority"`
	Path      string  `json:"path"`
	Status    *int    `json:"status"`
	ReqBytes  *int64  `json:"request_body_bytes"`
	RespBytes *int64  `json:"response_body_bytes"`
	Grpc      *string `json:"grpc"`
	Note      string  `json:"note,omitempty"`
}

// recorder is a RoundTripper that writes down every exchange, redirects too.
type recorder struct {
	proto string
	rt    http.RoundTripper
	mu    sync.Mutex
	list  []*tx
	notes map[string]string // by path
}

type counted struct {
	io.ReadCloser
	n *int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	*c.n += int64(n)
	return n, err
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	zero, zero2 := new(int64), new(int64)
	t := &tx{Protocol: r.proto, Method: req.Method, Authority: req.URL.Host, Path: req.URL.RequestURI(),
		ReqBytes: zero, Note: r.notes[req.URL.Path]}
	if req.Host != "" {
		t.Authority = req.Host
	}
	r.mu.Lock()
	r.list = append(r.list, t)
	r.mu.Unlock()
	req2 := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		req2.Body = counted{req.Body, zero}
	}
	// Clone copies the Trailer map; share it, its values are set while sending.
	req2.Trailer = req.Trailer
	res, err := r.rt.RoundTrip(req2)
	if err != nil {
		log.Printf("%s %s: %v", req.Method, req.URL, err)
		t.RespBytes = nil
		return nil, err
	}
	code := res.StatusCode
	t.Status, t.RespBytes = &code, zero2
	res.Body = counted{res.Body, zero2}
	return res, nil
}

func (r *recorder) save(path string) {
	if path == "" {
		return
	}
	f, err := os.Create(path)
	check(err)
	for _, t := range r.list {
		b, err := json.Marshal(t)
		check(err)
		f.Write(append(b, '\n'))
	}
	check(f.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

var t0 = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// photo is a JPEG of a bit over 100 KB, the same on every run.
func makePhoto() []byte {
	rnd := rand.New(rand.NewSource(7))
	img := image.NewRGBA(image.Rect(0, 0, 400, 300))
	for y := 0; y < 300; y++ {
		for x := 0; x < 400; x++ {
			n := uint8(rnd.Intn(110))
			img.Set(x, y, color.RGBA{uint8(x/2) + n/2, uint8(y/2) + n, 90 + n, 255})
		}
	}
	var b bytes.Buffer
	check(jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}))
	return b.Bytes()
}

var photo = makePhoto()

func orders(n int) []byte {
	var b strings.Builder
	b.WriteString("[")
	for i := 0; b.Len() < n-80; i++ {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"order":%d,"customer":"c-%04d","amount":%d.%02d}`, 1000+i, i%97, i*3, i%100)
	}
	b.WriteString("]")
	for b.Len() < n {
		b.WriteString(" ")
	}
	return []byte(b.String())
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "hello from Go\n")
	})
	mux.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new?from=old", http.StatusFound) })
	mux.HandleFunc("/new", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "you have arrived\n") })
	mux.HandleFunc("/orders", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"stored":%d}`, n)
	})
	mux.HandleFunc("/photo.jpg", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "photo.jpg", t0, bytes.NewReader(photo))
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "got %d bytes\n", n)
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
		fmt.Fprintf(w, "request trailer X-Body-Sha256: %s\n", r.Trailer.Get("X-Body-Sha256"))
		w.Header().Set("X-Sum", hex.EncodeToString(h.Sum(nil)))
		w.Header().Set(http.TrailerPrefix+"X-Undeclared", "yes")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload; as=style")
		w.WriteHeader(http.StatusEarlyHints)
		time.Sleep(5 * time.Millisecond)
		w.Header().Add("Link", "</app.js>; rel=preload; as=script")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "<html>hinted</html>\n")
	})
	// /stream?n=5&size=100&ms=10 writes n pieces of size bytes, ms apart.
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		n, _ := strconv.Atoi(q.Get("n"))
		size, _ := strconv.Atoi(q.Get("size"))
		ms, _ := strconv.Atoi(q.Get("ms"))
		w.Header().Set("Content-Type", "application/octet-stream")
		for i := 0; i < n; i++ {
			if _, err := w.Write(bytes.Repeat([]byte{byte('a' + i%26)}, size)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		for i := 1; i <= 5; i++ {
			fmt.Fprintf(w, "id: %d\nevent: tick\ndata: {\"n\":%d}\n\n", i, i)
			w.(http.Flusher).Flush()
			time.Sleep(15 * time.Millisecond)
		}
	})
	// /slow?ms=100 answers late.
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, "after %d ms\n", ms)
	})
	// Aborts before the header, and in the middle of the body.
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/abort-late", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("x"), 3000))
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
		panic(http.ErrAbortHandler)
	})
	// Refuses without reading the body.
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(25 * time.Millisecond)
		if r.ProtoMajor == 1 { // else net/http reads the body first, to keep the connection
			w.Header().Set("Connection", "close")
		}
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "it broke", http.StatusInternalServerError)
	})
	return mux
}

func serve(addr string) *http.Server {
	h2s := &http2.Server{}
	srv := &http.Server{Handler: h2c.NewHandler(handler(), h2s)}
	// Lets Shutdown reach the h2c connections: they get a GOAWAY.
	check(http2.ConfigureServer(srv, h2s))
	l, err := net.Listen("tcp", addr)
	check(err)
	go srv.Serve(l)
	return srv
}

func client(proto string, notes map[string]string) (*http.Client, *recorder) {
	var rt http.RoundTripper
	if proto == "h2" {
		rt = &http2.Transport{AllowHTTP: true, DisableCompression: true,
			DialTLS: func(network, addr string, _ *tls.Config) (net.Conn, error) { return net.Dial(network, addr) }}
	} else {
		rt = &http.Transport{DisableCompression: true}
	}
	r := &recorder{proto: proto, rt: rt, notes: notes}
	return &http.Client{Transport: r, Timeout: 20 * time.Second}, r
}

func drain(res *http.Response, err error) {
	if err != nil {
		return // already logged
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	log.Printf("%s %s -> %d, %d bytes, %v, trailer %v", res.Request.Method, res.Request.URL.Path, res.StatusCode, n, err, res.Trailer)
}

// slowBody gives its data in pieces, so that it is still being sent when an
// early answer comes.
type slowBody struct {
	left int
	wait time.Duration
	last int // given out by the last Read, perhaps not sent yet
	sent int64
}

func (s *slowBody) Read(p []byte) (int, error) {
	s.sent += int64(s.last)
	s.last = 0
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.wait)
	n := 4096
	if n > s.left {
		n = s.left
	}
	if n > len(p) {
		n = len(p)
	}
	for i := 0; i < n; i++ {
		p[i] = 'u'
	}
	s.left, s.last = s.left-n, n
	return n, nil
}
func (s *slowBody) Close() error { return nil }

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: httppeer MODE ADDR [TRUTH]")
	}
	mode, addr, truth := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		truth = os.Args[3]
	}
	var srv *http.Server
	if !strings.HasPrefix(mode, "client") {
		srv = serve(addr)
	}
	if mode == "serve" {
		select {}
	}
	mode, proto := strings.TrimSuffix(mode, "-h2"), "http/1.1"
	if strings.HasSuffix(os.Args[1], "-h2") {
		proto = "h2"
	}
	base := "http://" + addr
	notes := map[string]string{
		"/abort":      "the handler panics with http.ErrAbortHandler before it writes anything",
		"/abort-late": "the handler panics with http.ErrAbortHandler after 3000 bytes of body",
	}
	c, rec := client(proto, notes)
	switch mode {
	case "basic":
		drain(c.Get(base + "/old"))
		drain(c.Post(base+"/orders", "application/json", bytes.NewReader(orders(20480))))
		drain(c.Get(base + "/photo.jpg"))
		drain(c.Head(base + "/photo.jpg"))
		drain(c.Get(base + "/missing/42"))
	case "trailers":
		body := orders(3000)
		sum := sha256.Sum256(body)
		for i := 0; i < 2; i++ {
			pr, pw := io.Pipe()
			req, err := http.NewRequest("POST", base+"/trailers", pr)
			check(err)
			req.Trailer = http.Header{"X-Body-Sha256": nil}
			go func() {
				pw.Write(body[:1000])
				time.Sleep(5 * time.Millisecond)
				pw.Write(body[1000:])
				req.Trailer.Set("X-Body-Sha256", hex.EncodeToString(sum[:]))
				pw.Close()
			}()
			drain(c.Do(req))
		}
	case "hints":
		drain(c.Get(base + "/hints"))
		drain(c.Get(base + "/new"))
	case "events":
		drain(c.Get(base + "/events"))
		// The second reader goes away after the first bytes.
		rec.notes["/stream"] = "the client goes away before the end; the bytes are what it read"
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", base+"/stream?n=40&size=64&ms=10", nil)
		res, err := c.Do(req)
		check(err)
		io.ReadFull(res.Body, make([]byte, 320))
		cancel()
		res.Body.Close()
		time.Sleep(100 * time.Millisecond)
	case "concurrent":
		drain(c.Get(base + "/"))
		var wg sync.WaitGroup
		for i := 0; i < 6; i++ {
			wg.Add(1)
			go func(i int) {
				defer wg.Done()
				drain(c.Get(fmt.Sprintf("%s/stream?n=%d&size=%d&ms=%d", base, 4+i, 200+100*i, 5+i)))
			}(i)
			time.Sleep(3 * time.Millisecond) // the order of the streams is fixed
		}
		wg.Wait()
	case "abort":
		drain(c.Get(base + "/"))
		drain(c.Get(base + "/abort-late"))
		drain(c.Post(base+"/abort", "text/plain", strings.NewReader("abc")))
		drain(c.Get(base + "/new"))
	case "shutdown":
		drain(c.Get(base + "/"))
		done := make(chan bool)
		go func() { drain(c.Get(base + "/slow?ms=300")); done <- true }()
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		check(srv.Shutdown(ctx))
		cancel()
		<-done
		time.Sleep(1500 * time.Millisecond)
	case "client-users":
		for i := 1; i <= 8; i++ {
			drain(c.Get(fmt.Sprintf("%s/users/%d", base, i)))
		}
	case "client-mix":
		do := func(method, path, body string, header ...string) {
			req, err := http.NewRequest(method, base+path, strings.NewReader(body))
			check(err)
			if body == "" {
				req.Body = http.NoBody
			}
			for i := 0; i+1 < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			drain(c.Do(req))
		}
		do("GET", "/lines.txt", "")
		do("HEAD", "/lines.txt", "")
		do("GET", "/lines.txt", "", "If-Modified-Since", "Wed, 01 May 2024 12:00:00 GMT")
		do("GET", "/blob.bin", "", "Range", "bytes=0-99")
		do("PUT", "/upload", string(orders(12000)))
		do("GET", "/nothing/9", "")
		do("GET", "/boom", "")
	case "client-refuse":
		body := &slowBody{left: 60000, wait: 10 * time.Millisecond}
		req, _ := http.NewRequest("PUT", base+"/small-only", body)
		req.ContentLength = 60000
		rec.notes["/small-only"] = "answered before the request had ended; the request bytes are those the client had passed on before it stopped"
		drain(c.Do(req))
		time.Sleep(300 * time.Millisecond)
		*rec.list[0].ReqBytes = body.sent
		drain(c.Get(base + "/small.txt"))
	case "refuse":
		body := &slowBody{left: 60000, wait: 10 * time.Millisecond}
		req, _ := http.NewRequest("POST", base+"/refuse", body)
		rec.notes["/refuse"] = "answered before the request had ended; the request bytes are those the client had passed on before it stopped"
		drain(c.Do(req))
		time.Sleep(300 * time.Millisecond)
		*rec.list[0].ReqBytes = body.sent
		drain(c.Get(base + "/new"))
	case "cancel":
		drain(c.Get(base + "/"))
		rec.notes["/slow"] = "the client gives up after 60 ms (context deadline)"
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "GET", base+"/slow?ms=200", nil)
		drain(c.Do(req))
		cancel()
		drain(c.Get(base + "/new"))
		time.Sleep(250 * time.Millisecond)
	case "methods":
		for _, m := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"} {
			req, _ := http.NewRequest(m, base+"/orders", strings.NewReader(`{"id":17}`))
			drain(c.Do(req))
		}
		drain(c.Get(base + "/fail"))
	default:
		log.Fatalf("unknown mode %q", mode)
	}
	c.CloseIdleConnections()
	if t, ok := rec.rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	time.Sleep(50 * time.Millisecond)
	rec.save(truth)
}
