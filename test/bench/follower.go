package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// follow reads a job's log as text until it ends, which it does when the job has, and gives every block to handle as it comes.
func (s *system) follow(ctx context.Context, id string, handle func(block []byte)) (size int64, err error) {
	resp, err := s.open(ctx, http.MethodGet, "/jobs/"+id+"/log?follow=true", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("log of job %s: %s", id, resp.Status)
	}
	block := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(block)
		size += int64(n)
		if n > 0 && handle != nil {
			handle(block[:n])
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, fmt.Errorf("log of job %s, after %d bytes: %w", id, size, err)
		}
	}
}
