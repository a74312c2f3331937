package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	host, port := flag.String("host", "127.0.0.1", ""), flag.String("port", "7000", "")
	flag.Int("backlog", 0, "Go asks for the longest there is")
	flag.Bool("verbose", false, "")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() { <-stop; os.Exit(0) }()
	listener, err := net.Listen("tcp", net.JoinHostPort(*host, *port))
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", listener.Addr())
	for { // a goroutine for each client
		if client, err := listener.Accept(); err == nil {
			go echo(client)
		}
	}
}

func echo(client net.Conn) {
	bytes := make([]byte, 16384)
	for n, err := client.Read(bytes); err == nil; n, err = client.Read(bytes) {
		client.Write(bytes[:n]) // returns when all is sent
	}
	client.Close()
}
