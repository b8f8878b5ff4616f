package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// Cart is the state of the examples' objects.
type Cart struct {
	Items map[string]int
}

// carts is what every example begins with.
func carts(spec object.Spec[Cart]) (*object.Host, *object.Kind[Cart]) {
	host, err := object.NewHost(store.NewMemory(), nil) // local.Open(dir, nil) to keep things
	if err != nil {
		log.Fatal(err)
	}
	spec.Name = "cart"
	kind, err := object.Register(host, spec)
	if err != nil {
		log.Fatal(err)
	}
	return host, kind
}

func Example() {
	host, err := object.NewHost(store.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close(context.Background())
	carts, err := object.Register(host, object.Spec[Cart]{Name: "cart"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	alice := carts.Get("alice") // made by its first write
	cart, err := alice.Update(ctx, func(c *Cart) error {
		if c.Items == nil {
			c.Items = map[string]int{}
		}
		c.Items["apple"]++
		return nil
	})
	fmt.Println(cart.Items, err)
	// Output: map[apple:1] <nil>
}

func ExampleNewHost() {
	host, err := object.NewHost(store.NewMemory(), &object.Options{IdleAfter: time.Minute, MaxState: 64 << 10})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(host.Close(context.Background()))
	// Output: <nil>
}

func ExampleRegister() {
	host, _ := object.NewHost(store.NewMemory(), nil)
	defer host.Close(context.Background())
	kind, err := object.Register(host, object.Spec[Cart]{Name: "cart", Initial: Cart{Items: map[string]int{"welcome gift": 1}}})
	if err != nil {
		log.Fatal(err)
	}
	st, err := kind.Get("bob").State(context.Background())
	fmt.Println(st.Items, err)
	_, err = object.Register(host, object.Spec[Cart]{Name: "cart"})
	fmt.Println(errors.Is(err, object.ErrInvalid))
	// Output:
	// map[welcome gift:1] <nil>
	// true
}

func ExampleHost_Start() {
	rang := make(chan string)
	host, kind := carts(object.Spec[Cart]{OnAlarm: func(_ context.Context, o *object.Object[Cart], a object.Alarm) error {
		rang <- o.ID() + " " + a.Name
		return nil
	}})
	defer host.Close(context.Background())
	ctx := context.Background()
	if err := host.Start(ctx); err != nil { // after all kinds are registered
		log.Fatal(err)
	}
	if _, err := kind.Get("alice").Schedule(ctx, object.In(10*time.Millisecond), "remind", nil, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-rang)
	// Output: alice remind
}

func ExampleHost_Close() {
	host, kind := carts(object.Spec[Cart]{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(host.Close(ctx))
	_, err := kind.Get("alice").State(ctx)
	fmt.Println(errors.Is(err, object.ErrClosed))
	// Output:
	// <nil>
	// true
}

func ExampleHost_Live() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	_, _ = kind.Get("alice").State(context.Background())
	objects, databases := host.Live()
	fmt.Println(objects, databases)
	// Output: 1 0
}

func ExampleKind_Get() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	o := kind.Get("alice") // wakes nobody
	fmt.Println(o.Kind(), o.ID())
	// Output: cart alice
}

func ExampleObject_State() {
	host, kind := carts(object.Spec[Cart]{Initial: Cart{Items: map[string]int{"apple": 1}}})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	mine, _ := o.State(context.Background())
	mine.Items["apple"] = 99 // a copy
	now, err := o.State(context.Background())
	fmt.Println(now.Items, err)
	// Output: map[apple:1] <nil>
}

func ExampleObject_Update() {
	host, kind := carts(object.Spec[Cart]{Initial: Cart{Items: map[string]int{"apple": 1}}})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	_, err := o.Update(context.Background(), func(c *Cart) error {
		c.Items["apple"] = 50
		return errors.New("only 10 left") // nothing happens
	})
	fmt.Println(err)
	now, _ := o.State(context.Background())
	fmt.Println(now.Items)
	// Output:
	// only 10 left
	// map[apple:1]
}

func ExampleObject_SetState() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	fmt.Println(o.SetState(context.Background(), Cart{Items: map[string]int{"pear": 2}}))
	now, _ := o.State(context.Background())
	fmt.Println(now.Items)
	// Output:
	// <nil>
	// map[pear:2]
}

func ExampleObject_SQL() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	db, err := kind.Get("alice").SQL(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT); INSERT INTO orders(item) VALUES('apple'), ('pear')"); err != nil {
		log.Fatal(err)
	}
	var n int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&n)
	fmt.Println(n, err)
	// Output: 2 <nil>
}

func ExampleObject_Tx() {
	host, kind := carts(object.Spec[Cart]{Initial: Cart{Items: map[string]int{"apple": 3}}})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	checkout := func(ctx context.Context, tx object.Tx, c *Cart) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS orders(item TEXT, n INTEGER)"); err != nil {
			return err
		}
		for item, n := range c.Items {
			if _, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES(?, ?)", item, n); err != nil {
				return err
			}
		}
		c.Items = nil
		_, err := o.Enqueue(ctx, "send", "order", nil) // part of the same entry
		return err
	}
	fmt.Println(o.Tx(ctx, checkout))
	db, _ := o.SQL(ctx)
	var item string
	var n int
	err := db.QueryRowContext(ctx, "SELECT item, n FROM orders").Scan(&item, &n)
	cart, _ := o.State(ctx)
	fmt.Println(item, n, err, len(cart.Items))
	// Output:
	// <nil>
	// apple 3 <nil> 0
}

func ExampleTx() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	err := kind.Get("alice").Tx(context.Background(), func(ctx context.Context, tx object.Tx, _ *Cart) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE t(v); INSERT INTO t VALUES(1), (2)"); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT v FROM t")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() { // statements nest
			var v, double int
			if err := rows.Scan(&v); err != nil {
				return err
			}
			if err := tx.QueryRowContext(ctx, "UPDATE t SET v = v * 2 WHERE v = ? RETURNING v", v*10/10).Scan(&double); err == nil {
				fmt.Println(v, double)
			}
		}
		return rows.Err()
	})
	fmt.Println(err)
	// Output:
	// 1 2
	// 2 4
	// <nil>
}

func ExampleOnce() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	order := func() (string, error) {
		return object.Once(context.Background(), o, "checkout-7", func(ctx context.Context, tx object.Tx, c *Cart) (string, error) {
			fmt.Println("ordering")
			return "order 1", nil
		})
	}
	fmt.Println(order())
	fmt.Println(order()) // the client asks again, having lost the answer
	// Output:
	// ordering
	// order 1 <nil>
	// order 1 <nil>
}

func ExampleObject_Schedule() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	_, err1 := o.Schedule(ctx, object.At(at), "remind", map[string]string{"what": "your cart"}, nil)
	_, err2 := o.Schedule(ctx, object.Every(time.Hour), "refresh prices", nil, &object.AlarmOptions{ID: "refresh"})
	_, err3 := o.Schedule(ctx, object.Cron("0 9 * * 1"), "weekly offer", nil, nil) // Mondays at nine, UTC
	_, err4 := o.Schedule(ctx, object.Cron("at nine"), "never", nil, nil)
	fmt.Println(err1, err2, err3, errors.Is(err4, object.ErrInvalid))
	// Output: <nil> <nil> <nil> true
}

func ExampleObject_Alarms() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	_, _ = o.Schedule(ctx, object.At(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), "remind", "your cart", nil)
	alarms, err := o.Alarms(ctx)
	var what string
	_ = alarms[0].Decode(&what)
	fmt.Println(alarms[0].Name, alarms[0].At, what, err)
	// Output: remind 2030-01-02 03:04:05 +0000 UTC your cart <nil>
}

func ExampleObject_Cancel() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	id, _ := o.Schedule(ctx, object.In(time.Hour), "remind", nil, nil)
	fmt.Println(o.Cancel(ctx, id))
	fmt.Println(errors.Is(o.Cancel(ctx, id), object.ErrNotFound))
	// Output:
	// <nil>
	// true
}

func ExampleObject_Enqueue() {
	sent := make(chan string)
	host, kind := carts(object.Spec[Cart]{OnJob: func(_ context.Context, _ *object.Object[Cart], j object.Job) error {
		var to string
		if err := j.Decode(&to); err != nil {
			return err
		}
		sent <- j.Name + " to " + to
		return nil
	}})
	defer host.Close(context.Background())
	ctx := context.Background()
	if err := host.Start(ctx); err != nil {
		log.Fatal(err)
	}
	_, err := kind.Get("alice").Enqueue(ctx, "mail", "alice@example.com", nil)
	fmt.Println(<-sent, err)
	// Output: mail to alice@example.com <nil>
}

func ExampleObject_Jobs() {
	host, kind := carts(object.Spec[Cart]{}) // nobody works the queue off
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	_, _ = o.Enqueue(ctx, "mail", nil, nil)
	jobs, err := o.Jobs(ctx)
	fmt.Println(len(jobs), jobs[0].Name, jobs[0].Dead, err)
	// Output: 1 mail false <nil>
}

func ExampleObject_Requeue() {
	works := false
	done := make(chan bool, 2)
	host, kind := carts(object.Spec[Cart]{OnJob: func(context.Context, *object.Object[Cart], object.Job) error {
		defer func() { done <- works }()
		if !works {
			return errors.New("mail server is down")
		}
		return nil
	}})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	id, _ := o.Enqueue(ctx, "mail", nil, &object.JobOptions{Retries: -1})
	_ = host.Start(ctx)
	<-done
	for { // until the failure is journalled
		if jobs, _ := o.Jobs(ctx); jobs[0].Dead {
			fmt.Println("dead letter:", jobs[0].Err)
			break
		}
	}
	works = true
	fmt.Println(o.Requeue(ctx, id), <-done)
	// Output:
	// dead letter: mail server is down
	// <nil> true
}

func ExampleObject_Notify() {
	told := make(chan object.Note)
	host, err := object.NewHost(store.NewMemory(), &object.Options{
		Deliver: func(_ context.Context, n object.Note) error { told <- n; return nil }})
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close(context.Background())
	kind, _ := object.Register(host, object.Spec[Cart]{Name: "cart"})
	o := kind.Get("alice")
	err = o.Tx(context.Background(), func(ctx context.Context, _ object.Tx, c *Cart) error {
		c.Items = map[string]int{"apple": 1}
		return o.Notify(ctx, "changed", c.Items) // told if and only if the unit is kept
	})
	n := <-told
	fmt.Println(n.Topic, string(n.Data), err)
	// Output: changed {"apple":1} <nil>
}

func ExampleObject_Flush() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	_ = o.SetState(context.Background(), Cart{})
	fmt.Println(o.Flush(context.Background())) // before a payment, say
	// Output: <nil>
}

func ExampleObject_KeepAlive() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	release, err := kind.Get("alice").KeepAlive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer release()
	objects, _ := host.Live()
	fmt.Println(objects)
	// Output: 1
}

func ExampleObject_Vacuum() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	db, _ := o.SQL(ctx)
	_, _ = db.ExecContext(ctx, "CREATE TABLE t(v); INSERT INTO t VALUES(zeroblob(1000000)); DELETE FROM t")
	err := o.Vacuum(ctx)
	var pages int
	_ = db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages)
	fmt.Println(pages < 5, err)
	// Output: true <nil>
}

func ExampleObject_Delete() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	o := kind.Get("alice")
	_ = o.SetState(ctx, Cart{Items: map[string]int{"apple": 1}})
	fmt.Println(o.Delete(ctx))
	now, _ := o.State(ctx)
	fmt.Println(len(now.Items))
	// Output:
	// <nil>
	// 0
}

func ExampleObject_Export() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	_ = kind.Get("alice").SetState(ctx, Cart{Items: map[string]int{"apple": 1}})
	var backup bytes.Buffer
	if err := kind.Get("alice").Export(ctx, &backup); err != nil {
		log.Fatal(err)
	}
	copied := kind.Get("alice's copy")
	fmt.Println(copied.Import(ctx, &backup))
	now, _ := copied.State(ctx)
	fmt.Println(now.Items)
	// Output:
	// <nil>
	// map[apple:1]
}

func ExampleDone() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx, o := context.Background(), kind.Get("alice")
	order := func(context.Context, object.Tx, *Cart) (int, error) { return 7, nil }
	_, done, _ := object.Done[int](ctx, o, "order")
	fmt.Println(done)
	_, _ = object.Once(ctx, o, "order", order)
	number, done, err := object.Done[int](ctx, o, "order")
	fmt.Println(number, done, err)
	// Output:
	// false
	// 7 true <nil>
}

func ExampleTold() {
	heard := make(chan string)
	host, err := object.NewHost(store.NewMemory(), &object.Options{
		Deliver: func(_ context.Context, n object.Note) error { heard <- "delivered: " + n.Topic; return nil }})
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close(context.Background())
	kind, _ := object.Register(host, object.Spec[Cart]{Name: "cart",
		Tell: func(id string, c *Cart) (string, any) {
			if len(c.Items) < 2 {
				return "", nil // nothing anybody away must hear of
			}
			return "two things for " + id, nil
		},
		OnUpdate: func(ctx context.Context, _ *object.Object[Cart], c Cart) {
			heard <- fmt.Sprint(len(c.Items), " things, told: ", object.Told(ctx))
		}})
	_ = kind.Get("alice").SetState(context.Background(), Cart{Items: map[string]int{"apple": 1}})
	fmt.Println(<-heard)
	_ = kind.Get("alice").SetState(context.Background(), Cart{Items: map[string]int{"apple": 1, "bread": 1}})
	fmt.Println(<-heard)
	fmt.Println(<-heard)
	// Unordered output:
	// 1 things, told: false
	// 2 things, told: true
	// delivered: two things for alice
}

func ExampleObject_ID() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	o := kind.Get("alice")
	fmt.Println(o.Kind(), o.ID())
	// Output: cart alice
}

func ExampleObject_Import() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	// What is no export, or not whole, is refused wholly.
	err := kind.Get("alice").Import(context.Background(), strings.NewReader("not an export"))
	fmt.Println(errors.Is(err, object.ErrDamaged))
	// Output: true
}

func ExampleHost_Check() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	_ = kind.Get("alice").SetState(ctx, Cart{Items: map[string]int{"apple": 1}})
	fmt.Println(host.Check(ctx, store.ObjectID{Kind: "cart", ID: "alice"}))
	// Output: <nil>
}

func ExampleHost_Export() {
	host, kind := carts(object.Spec[Cart]{})
	defer host.Close(context.Background())
	ctx := context.Background()
	_ = kind.Get("alice").SetState(ctx, Cart{Items: map[string]int{"apple": 1}})
	var backup bytes.Buffer
	// The Go type of the state need not be known.
	fmt.Println(host.Export(ctx, store.ObjectID{Kind: "cart", ID: "alice"}, &backup), backup.Len() > 0)
	// Output: <nil> true
}

func ExampleCron() {
	host, kind := carts(object.Spec[Cart]{OnAlarm: func(context.Context, *object.Object[Cart], object.Alarm) error { return nil }})
	defer host.Close(context.Background())
	ctx, o := context.Background(), kind.Get("alice")
	for name, when := range map[string]object.When{
		"once": object.At(time.Now().Add(time.Hour)), "soon": object.In(time.Minute),
		"hourly": object.Every(time.Hour), "at nine on working days": object.Cron("0 9 * * 1-5"),
	} {
		if _, err := o.Schedule(ctx, when, name, nil, nil); err != nil {
			log.Fatal(err)
		}
	}
	alarms, _ := o.Alarms(ctx)
	fmt.Println(len(alarms))
	_, err := o.Schedule(ctx, object.Cron("61 * * * *"), "never", nil, nil)
	fmt.Println(errors.Is(err, object.ErrInvalid))
	// Output:
	// 4
	// true
}
