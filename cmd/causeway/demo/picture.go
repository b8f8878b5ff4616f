package demo

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type pictureInput struct {
	Seed int64 `json:"seed,omitempty" jsonschema:"another number, another picture"`
	Size int   `json:"size,omitempty" jsonschema:"width and height in pixels, 16 to 512; 256 if left out"`
}

func picture(_ context.Context, _ *mcp.CallToolRequest, in pictureInput) (*mcp.CallToolResult, any, error) {
	if in.Size == 0 {
		in.Size = 256
	}
	if in.Size < 16 || in.Size > 512 {
		return nil, nil, invalidParams("size is %d, want 16 to 512", in.Size)
	}
	data, err := draw(in.Seed, in.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("drawing picture %d: %w", in.Seed, err)
	}
	return &mcp.CallToolResult{Content: []mcp.Content{
		&mcp.TextContent{Text: fmt.Sprintf("Picture %d, %d by %d pixels.", in.Seed, in.Size, in.Size)},
		&mcp.ImageContent{Data: data, MIMEType: "image/png"},
	}}, nil, nil
}

// draw paints waves: three plane waves with directions and colours from the seed.
func draw(seed int64, size int) ([]byte, error) {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	type wave struct{ x, y, phase float64 }
	var waves [3]wave
	for i := range waves {
		angle, length := random.Float64()*2*math.Pi, 2+6*random.Float64()
		waves[i] = wave{math.Cos(angle) * length, math.Sin(angle) * length, random.Float64() * 2 * math.Pi}
	}
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			var rgb [3]uint8
			for i, w := range waves {
				u, v := float64(x)/float64(size)*math.Pi, float64(y)/float64(size)*math.Pi
				rgb[i] = uint8(127.5 + 127.5*math.Sin(w.x*u+w.y*v+w.phase))
			}
			img.SetRGBA(x, y, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
