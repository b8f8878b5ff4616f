package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const maxImage = 16 << 20 // bytes of JSON

var images = &http.Client{Timeout: 2 * time.Minute}

// generateImage has an image made by whatever speaks OpenAI's images API: IMAGE_URL is its
// base, IMAGE_KEY opens it, IMAGE_MODEL is the model.
func generateImage(ctx context.Context, _ *mcp.CallToolRequest, in struct {
	Prompt string `json:"prompt" jsonschema:"what to show, at most 1000 bytes"`
}) (*mcp.CallToolResult, any, error) {
	if in.Prompt == "" || len(in.Prompt) > 1000 {
		return nil, nil, errors.New("the prompt must have 1 to 1000 bytes")
	}
	body, err := json.Marshal(map[string]any{
		"model": cmp.Or(os.Getenv("IMAGE_MODEL"), "gpt-image-1"), "prompt": in.Prompt, "n": 1, "size": "1024x1024",
	})
	if err != nil {
		return nil, nil, err
	}
	url := cmp.Or(os.Getenv("IMAGE_URL"), "https://api.openai.com/v1") + "/images/generations"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+os.Getenv("IMAGE_KEY"))
	resp, err := images.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for an image: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the image service answered with status %d", resp.StatusCode) // its text may say too much
	}
	var answer struct {
		Data []struct {
			Image []byte `json:"b64_json"` // base64, as bytes are in JSON
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxImage)).Decode(&answer); err != nil {
		return nil, nil, fmt.Errorf("reading the image: %w", err)
	}
	if len(answer.Data) == 0 || len(answer.Data[0].Image) == 0 {
		return nil, nil, errors.New("the image service sent no image")
	}
	image := answer.Data[0].Image
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.ImageContent{Data: image, MIMEType: http.DetectContentType(image)}}}, nil, nil
}
