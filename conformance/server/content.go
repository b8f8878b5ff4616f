package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addContentTools adds the tools that answer at once with one kind of content
// each.
func addContentTools(server *mcp.Server) {
	add := func(name, description string, content ...mcp.Content) {
		mcp.AddTool(server, &mcp.Tool{Name: name, Description: description},
			func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{Content: content}, nil, nil
			})
	}
	picture := &mcp.ImageContent{Data: redPixel(), MIMEType: "image/png"}
	document := &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{
		URI:      "test://embedded-resource",
		MIMEType: "text/plain",
		Text:     "The text of the embedded resource.",
	}}

	add("test_simple_text", "Answers with one text block",
		&mcp.TextContent{Text: "A simple text answer."})
	add("test_image_content", "Answers with one PNG image", picture)
	add("test_audio_content", "Answers with one WAV sound",
		&mcp.AudioContent{Data: silence(), MIMEType: "audio/wav"})
	add("test_embedded_resource", "Answers with one embedded resource", document)
	add("test_multiple_content_types", "Answers with text, an image and a resource",
		&mcp.TextContent{Text: "Text beside other content."}, picture, document)

	mcp.AddTool(server, &mcp.Tool{Name: "test_error_handling", Description: "Always fails, as a tool error and not as a protocol error"},
		func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
			return nil, nil, errors.New("this tool fails on purpose")
		})
}

// redPixel is a PNG of one red pixel.
func redPixel() []byte {
	pixel := image.NewRGBA(image.Rect(0, 0, 1, 1))
	pixel.Set(0, 0, color.RGBA{R: 0xff, A: 0xff})
	var out bytes.Buffer
	if err := png.Encode(&out, pixel); err != nil {
		panic("encoding one pixel as PNG: " + err.Error()) // writing to memory cannot fail
	}
	return out.Bytes()
}

// silence is a WAV file with a hundredth of a second of silence: PCM, one
// channel, 8000 samples of 16 bits a second.
func silence() []byte {
	const rate, sampleBytes, samples = 8000, 2, 80
	data := make([]byte, samples*sampleBytes)
	format := struct {
		Kind, Channels          uint16
		Rate, BytesPerSecond    uint32
		FrameBytes, BitsPerWord uint16
	}{1, 1, rate, rate * sampleBytes, sampleBytes, 8 * sampleBytes}

	var body bytes.Buffer
	body.WriteString("WAVE")
	writeChunk(&body, "fmt ", format)
	writeChunk(&body, "data", data)
	var file bytes.Buffer
	writeChunk(&file, "RIFF", body.Bytes())
	return file.Bytes()
}

// writeChunk writes one chunk of a RIFF file: its name, its length, its bytes.
func writeChunk(out *bytes.Buffer, name string, content any) {
	out.WriteString(name)
	// Writing fixed-size values to memory cannot fail.
	_ = binary.Write(out, binary.LittleEndian, uint32(binary.Size(content)))
	_ = binary.Write(out, binary.LittleEndian, content)
}
