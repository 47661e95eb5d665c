import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** The program of the image java: answers on port 8080. Hello.class is made of it by `javac --release 17 Hello.java`. */
public class Hello {
    public static void main(String[] args) throws Exception {
        HttpServer s = HttpServer.create(new InetSocketAddress(8080), 0);
        s.createContext("/", x -> {
            byte[] body = "hello from java\n".getBytes();
            x.sendResponseHeaders(200, body.length);
            x.getResponseBody().write(body);
            x.close();
        });
        s.start();
        System.out.println("listening");
    }
}
